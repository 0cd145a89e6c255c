"""A program that calls the product keeps its own environment and logging."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from sip_trunks.commands import main
from sip_trunks.commands.signals import handling_signals
from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.process import changed_log_level
from sip_trunks.core.settings import read_settings
from sip_trunks.run.run import run
from tests.support.builders import TRUNK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_a_run_leaves_the_environment_and_the_loggers_as_they_were(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    api.answer([TRUNK])
    settings = read_settings()
    before, handlers = dict(os.environ), list(logging.getLogger("dlt").handlers)
    assert run(settings, pick_accounts(settings, []), with_reports=False).exit_code == 0
    assert dict(os.environ) == before
    assert list(logging.getLogger("dlt").handlers) == handlers or not handlers


@pytest.mark.usefixtures("place")
def test_the_notebook_and_its_log_level_leave_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "duckdb")
    before, level = dict(os.environ), logging.getLogger("asyncio").level
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["notebook", "--destination", "parquet", "--port", port, "--no-browser"]) == 2
    assert dict(os.environ) == before
    with changed_log_level(logging.CRITICAL, "asyncio"):
        assert logging.getLogger("asyncio").level == logging.CRITICAL
    assert logging.getLogger("asyncio").level == level


@pytest.mark.usefixtures("place")
def test_a_command_leaves_the_signals_and_the_garbage_collector_as_they_were(api: Api) -> None:
    def state() -> tuple[object, ...]:
        collector = gc.isenabled(), gc.get_freeze_count(), gc.get_threshold()
        return collector, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.stdout

    api.answer([TRUNK])
    before = state()
    assert main(["run", "--no-reports"]) == 0
    assert main(["status"]) == 0
    assert state() == before


@pytest.mark.usefixtures("place")
def test_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handling_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
