"""The notebook as a user opens it: `sip-trunks notebook` in a process of its own, on any data directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.runs import COMMAND, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextmanager
def serve_notebook(data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve the notebook on what a data directory has; yields the address to open, which lets its visitor in.

    In the end it is interrupted, as by a user at a terminal, and must end in good order.
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
            assert server.wait(PATIENCE_SECONDS) == 0
