"""The notebook as people open it: `sip-trunks notebook` in a process of its own, on any data directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMAND = str(Path(sys.executable).with_name("sip-trunks"))


@contextmanager
def serve_notebook(data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve the notebook on what a data directory has; yields the address to open, which lets its visitor in.

    In the end it is stopped as somebody at a terminal would, and has to go in good order.
    """
    chosen = {"SIP_TRUNKS__DATA_DIR": str(data_dir)} | dict(environment or {})
    command = [COMMAND, "notebook", "--no-browser", *arguments]
    with subprocess.Popen(command, env=os.environ | chosen, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            said = server.stdout.readline()
            found = re.search(r"http://\S+", said)
            assert found, said
            yield found[0]
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
