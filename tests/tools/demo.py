"""The demo account after some runs, for what is generated from it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.support.runs import COMMAND

if TYPE_CHECKING:
    from pathlib import Path


def load_demo(data_dir: Path, runs: int) -> None:
    """Load the demo account into a data directory, one edition after the other, with the reports of each."""
    environment = os.environ | {"SIP_TRUNKS__DATA_DIR": str(data_dir)}
    for _ in range(runs):
        subprocess.run([COMMAND, "run", "--demo"], env=environment, check=True, capture_output=True)
