"""What holds for all tests: markers by folder, skips that may be forbidden, and fixtures of `tests/support`."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = [
    "tests.support.cpu_report",
    "tests.support.disk",
    "tests.support.fixtures",
    "tests.support.postgres_server",
    "tests.support.published",
    "tests.support.transfers",
]
LAYERS = ("unit", "integration", "system", "extras")
TESTS = Path(__file__).parent

gc.set_threshold(200_000, 20, 20)  # as the command does
# The same examples every time, however long one takes. `--hypothesis-profile=exploring` looks for new ones.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("exploring", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped has failed")


@pytest.hookimpl(optionalhook=True)  # `-p no:xdist` has not got it
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are processors: some of them always wait for a process or a server."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        (layer,) = (name for name in LAYERS if name == item.path.relative_to(TESTS).parts[0])
        item.add_marker(layer)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse test modules that import dlt: unit tests could not be told from others by what they import."""
    if "dlt" in sys.modules:
        raise pytest.UsageError("a test module imports dlt; import it in the tests that need it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"--no-skips forbids: {report.longreprtext}"
    return report
