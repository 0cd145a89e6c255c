"""The program `sip-trunks`, also run as `python -m sip_trunks`: sets up the process and runs a command."""

from __future__ import annotations

import gc
import os
import sys
from io import TextIOWrapper

from sip_trunks import commands
from sip_trunks.commands.signals import handling_signals, stopped_by


def main() -> int:
    """Run the command line and return the exit code. Changes to the process are not restored, because it ends."""
    _make_streams_safe()
    # dlt creates a million objects and hardly any garbage. Collecting less often saves a tenth of a run's CPU time.
    gc.set_threshold(50_000, 20, 20)
    with handling_signals():
        code = commands.main()
    if stopped_by():
        # Do not wait for a statement that still runs in a thread, because its result would not be published.
        sys.stdout.flush()
        os._exit(code)
    return code


def _make_streams_safe() -> None:
    """Ensure that printing never fails because of a character that cannot be encoded, or of a closed stream."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - open until the process ends
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
