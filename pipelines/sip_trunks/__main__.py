"""The program `sip-trunks`, also run as `python -m sip_trunks`: sets up the process and runs a command."""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any

from sip_trunks import commands
from sip_trunks.commands.signals import handling_signals, stopped_by


def main() -> int:
    """Run the command line and return the exit code. Changes to the process are not restored, because it ends."""
    _make_streams_safe()
    # dlt creates a million objects and hardly any garbage. Collecting less often saves a seventh of the CPU of a run.
    gc.set_threshold(200_000, 20, 20)
    with handling_signals():
        code = commands.main()
    others = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if not _is_flushed() or stopped_by() or others:
        # Python would wait for a statement that still runs in a thread, though its result would not be published, or
        # for the sessions of a notebook; and it would replace the exit code if the output cannot be written.
        os._exit(code)
    # Python ends with a last collection of a million objects that the operating system frees anyway: a fifth of a run.
    gc.freeze()
    gc.disable()
    return code


def _is_flushed() -> bool:
    """Write the rest of standard output and return whether that succeeded."""
    with suppress(OSError):
        sys.stdout.flush()
        return True
    return False


def _make_streams_safe() -> None:
    """Ensure that printing fails neither because of a character that cannot be encoded, nor because of messages."""
    # Otherwise the next file to be opened, such as the data, would become a closed standard stream.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(descriptor)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        buffer = BufferedWriter(_StandardStream(descriptor, "w", closefd=False))
        is_live = descriptor == 2 or (stream is not None and stream.line_buffering)
        encoding = stream.encoding if stream else "utf-8"
        setattr(sys, name, TextIOWrapper(buffer, encoding, "replace", line_buffering=is_live))


class _StandardStream(FileIO):
    """Standard output, which its errors name, or standard error, which has none: a message does not decide a run."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self.fileno() == 2:
                return len(memoryview(data))
            from sip_trunks.core.errors import STANDARD_OUTPUT  # slow to import, and rarely needed

            error.filename = STANDARD_OUTPUT
            raise


if __name__ == "__main__":
    sys.exit(main())
