"""The program `sip-trunks`, which `python -m sip_trunks` is too: a process of its own around `main`."""

from __future__ import annotations

import gc
import os
import sys
from io import TextIOWrapper

from sip_trunks import commands
from sip_trunks.commands.signals import handling_signals, stopped_by


def main() -> int:
    """Run the command of this process and return its exit code. What it changes of the process, it keeps."""
    _make_streams_safe()
    # dlt makes a million objects and next to no garbage: looking for it less often is a tenth of a run's CPU.
    gc.set_threshold(50_000, 20, 20)
    with handling_signals():
        code = commands.main()
    if stopped_by():
        # Nothing that a statement still running in a thread could finish would be published.
        sys.stdout.flush()
        os._exit(code)
    return code


def _make_streams_safe() -> None:
    """Ensure that printing never fails for a letter that the terminal lacks, or because a stream is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - open until the process ends
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
