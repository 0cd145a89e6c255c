"""What modules import, which only a process of its own can show."""

from __future__ import annotations

import subprocess
import sys


def test_pseudonyms_need_no_pandas_which_a_run_without_reports_does_not_import() -> None:
    code = "import sys, trunk_transforms.parse.pseudonyms; print('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
