"""Fixtures of every layer: an API, an empty place to work in, and what a first run leaves in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.accounts import pick_accounts
from sip_trunks.core.settings import ApiSettings, read_settings
from sip_trunks.run.run import run
from tests.support.api import Api
from tests.support.hook import Hook
from tests.support.runs import TOKEN
from tests.support.shared import built_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Begin = Callable[..., None]


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.close()


@pytest.fixture
def place(tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory whose settings point at `api`; the data goes to `data/` in it."""
    for name in ("FAMULOR_API_KEY", "SOURCES__FAMULOR__API_TOKEN", "DLT_PROJECT_DIR", "DLT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SOURCES__FAMULOR__BASE_URL", api.base_url)
    monkeypatch.setenv("SOURCES__FAMULOR__BACKOFF_SECONDS", "0.01")
    # What is queued is for one account after the other.
    monkeypatch.setenv("SOURCES__FAMULOR__CONCURRENCY", "1")
    monkeypatch.setenv("FAMULOR_API_KEY", TOKEN)
    return tmp_path


@pytest.fixture
def begin(place: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Begin:
    """Leave what a first run that is sent these trunks leaves, reports aside.

    It is copied from one run per session, with an API of its own: `api` is not asked for it, whichever test is first.
    """

    def begin(*trunks: dict[str, Any]) -> None:
        api.answer(list(trunks))
        settings = read_settings()
        accounts = pick_accounts(settings, [])
        if settings.destination != "duckdb" and (settings.destination, settings.lake) != ("parquet", "lake"):
            # It is not stored below the data directory.
            assert run(settings, accounts, with_reports=False).exit_code == 0
            return

        def run_first(folder: Path) -> None:
            server = Api()
            try:
                server.answer(list(trunks))
                there = replace(settings, data_dir=folder, api=replace(settings.api, base_url=server.base_url))
                assert run(there, accounts, with_reports=False).exit_code == 0
            finally:
                server.close()

        # The key of pseudonyms is in no text of the settings; the loader's version has a mark of it.
        same = replace(settings, data_dir=Path(), config_dir=None, api=ApiSettings())
        kind = repr((same, settings.loader_version, trunks))
        begun = built_once(tmp_path_factory, f"begun-{sha256(kind.encode()).hexdigest()[:16]}", run_first)
        shutil.copytree(begun, settings.data_dir, symlinks=True, dirs_exist_ok=True)

    return begin
