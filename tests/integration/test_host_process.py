"""A program that calls the product keeps its own environment and logging."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.accounts import pick_accounts
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
