"""The benchmarks check what they measure: what was served is what was stored, and every process is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.answer import Moment, build_answer
from tests.bench.compare import environment
from tests.bench.competitors import NO_REPORTS
from tests.bench.cost import BenchError, OutOfTimeError, measure
from tests.bench.serving import PROJECT, serving
from tests.bench.stored import read_stored


def test_what_is_stored_has_the_fingerprint_of_what_was_served(tmp_path: Path) -> None:
    with serving([2]) as served:
        answer = served[2, Moment.FIRST]
        measure(NO_REPORTS, tmp_path, environment(tmp_path) | answer.variables())
    found, _ = read_stored("sip-trunks", tmp_path / "data" / "warehouse.duckdb")
    assert set(found.values()) == {answer.fingerprint}


def test_a_large_response_is_made_of_pieces_in_order() -> None:
    assert build_answer(30, at_once=7) == build_answer(30)


def test_the_measuring_process_imports_nothing_heavy() -> None:
    """A child starts with the peak memory of its parent."""
    code = "import sys, tests.bench.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not {"duckdb", "numpy", "pandas", "pyarrow", "trunk_transforms"} & set(done.stdout.split())


def test_a_cost_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    measured = tmp_path / "measured"

    def let_go(resident: int) -> None:
        """Let both processes end once they were seen at the same time, however late that is."""
        if resident > 120e6:
            measured.touch()

    if not Path("/proc/self/statm").exists():
        measured.touch()
    child = (
        "import os, time; held = bytearray(60_000_000); sum(range(3_000_000))\n"
        "while not os.path.exists('measured'): time.sleep(0.01)"
    )
    both = f"import subprocess, sys; two = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in 'ab']; "
    cost = measure((sys.executable, "-c", f"{both} [one.wait() for one in two]"), tmp_path, {}, on_look=let_go)
    assert cost.peak_mb > 120 or sys.platform == "darwin"
    assert cost.cpu_seconds > 0.05


def test_a_command_that_fails_hangs_or_leaves_processes_behind_is_not_a_result(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"ended with 3:\nlast words"):
        measure(("sh", "-c", "echo last words; exit 3"), tmp_path, {})
    with pytest.raises(BenchError, match="left processes behind"):
        measure(("sh", "-c", "sleep 60 &"), tmp_path, {})
    with pytest.raises(OutOfTimeError):
        measure(("sleep", "60"), tmp_path, {}, limit=0.05)
