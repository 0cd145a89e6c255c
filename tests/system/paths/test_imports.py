"""What commands import, which is most of what a short command costs: counted in modules, never in seconds."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.builders import TRUNK
from tests.support.runs import PATIENCE_SECONDS, load

if TYPE_CHECKING:
    from tests.support.api import Api

pytestmark = pytest.mark.usefixtures("place")

HEAVY = {"dlt", "pandas", "pyarrow", "numpy"}


def modules_of(*arguments: str) -> set[str]:
    """Return the names of the modules that a command imports."""
    code = "import sys; from sip_trunks.commands import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print('\\n', *sorted(sys.modules))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return set(done.stdout.splitlines()[-1].split())


def test_the_light_commands_import_nothing_heavy(api: Api) -> None:
    """Only new processes can show it: this one has imported everything long ago."""
    api.answer([TRUNK])
    assert load(with_reports=True).exit_code == 0
    assert not (HEAVY | {"duckdb", "urllib3"}) & modules_of("--help")
    asking = {"urllib3", "ssl", "sip_trunks.run.run"}
    for command, unwanted in (
        (["status"], HEAVY | asking),
        (["drift"], HEAVY),
        (["sql", "SELECT count(*) FROM sip_trunks"], HEAVY | asking),
        (["describe"], HEAVY | asking),
        (["describe", "sip_trunks"], HEAVY),
        # The response is the one that is stored, so there is nothing to load.
        (["run"], HEAVY),
    ):
        assert not unwanted & modules_of(*command), command
    assert "dlt" not in modules_of("report", "counts")


def test_a_run_without_reports_imports_neither_pandas_nor_numpy(api: Api) -> None:
    api.answer([TRUNK])
    modules = modules_of("run", "--no-reports")
    assert "dlt" in modules
    assert not {"numpy", "pandas"} & modules


def test_a_run_with_reports_imports_no_chart_library(api: Api) -> None:
    api.answer([TRUNK])
    modules = modules_of("run")
    assert "sip_trunks.reporting.html_page" in modules
    assert not {"vl_convert", "altair", "sip_trunks.reporting.charts"} & modules
