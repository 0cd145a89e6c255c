"""What the tests of each layer cost: their number and CPU seconds, printed when all are done.

CPU, unlike time, says little of how busy the machine is. Processes that a test has waited for count as the test.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

_counted_until = 0.0
_tests: Counter[str] = Counter()
_cpu_seconds: Counter[str] = Counter()


def _cpu_seconds_used() -> float:
    return sum(os.times()[:4])


def pytest_collection_finish() -> None:
    """Count from here on: what collecting costs is no layer's."""
    global _counted_until  # noqa: PLW0603 - as below
    _counted_until = _cpu_seconds_used()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note in the report of each phase what it has cost, which travels with it from a worker."""
    global _counted_until  # noqa: PLW0603 - each phase costs what the process has used since the one before
    report = yield
    now = _cpu_seconds_used()
    report.__dict__["cpu_seconds"] = now - _counted_until
    _counted_until = now
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    layer = report.nodeid.split("/")[1]
    _tests[layer] += report.when == "call"
    _cpu_seconds[layer] += report.__dict__["cpu_seconds"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    costs = [f"{layer} {_tests[layer]} tests, {seconds:.0f} s" for layer, seconds in sorted(_cpu_seconds.items())]
    terminalreporter.write_line(f"CPU: {'; '.join(costs)}")
