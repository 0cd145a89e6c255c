"""The queries of docs/sql.md and what they print: `make cookbook` writes it, a test holds it in step."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.runs import COMMAND, PROJECT
from tests.tools.demo import load_demo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COOKBOOK = PROJECT / "docs" / "sql.md"
RUNS = 4
_RECIPE = re.compile(r"```sql\n(?P<query>.*?)```\n(?:\n```text\n(?P<printed>.*?)```\n)?", flags=re.DOTALL)


def recipes(text: str) -> Iterator[tuple[str, str]]:
    """Yield every query and what the text says that it prints."""
    for found in _RECIPE.finditer(text):
        yield found["query"], found["printed"] or ""


def fill(text: str, ask: Callable[[str], str]) -> str:
    """Return the text with what each query prints."""
    return _RECIPE.sub(lambda found: f"```sql\n{found['query']}```\n\n```text\n{ask(found['query'])}```\n", text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        load_demo(Path(folder), RUNS)
        env = os.environ | {"SIP_TRUNKS__DATA_DIR": folder}

        def ask(query: str) -> str:
            done = subprocess.run([COMMAND, "sql", query], env=env, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{query}: {done.stderr}")
            return done.stdout

        COOKBOOK.write_text(fill(COOKBOOK.read_text("utf-8"), ask), "utf-8")
