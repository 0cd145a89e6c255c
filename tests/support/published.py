"""Destinations in which runs published reports, as they were after each of several runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import Account, ApiSettings, Settings
from sip_trunks.destinations import open_destination
from sip_trunks.run.run import run
from tests.support.api import Api
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.runs import TOKEN
from tests.support.shared import built_once

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    import duckdb

    from tests.support.runs import Rows

OPEN = IP_TRUNK | {"allowed_inbound_ips": ["0.0.0.0/0"], "phone_number": "+14155551299"}
ODD = trunk(id=45, outbound_proxy="yes")
STEPS: list[tuple[bool, list[dict[str, Any]]]] = [
    (True, [OPEN, TRUNK]),
    (False, [OPEN, TRUNK | {"zz_codec": "opus"}, ODD]),
    (True, [OPEN, TRUNK | {"zz_codec": "g711"}, ODD]),
    (True, [TRUNK | {"zz_codec": "g711"}, ODD]),
    (True, [OPEN, TRUNK | {"zz_codec": "g711"}, ODD]),
]
"""Whether a run writes reports, and the trunks that it is sent: one of them is a finding that ends and comes back."""


@dataclass(frozen=True)
class Published:
    """One destination after each step; tests only read it."""

    folder: Path
    kind: str

    def settings(self, step: int) -> Settings:
        return Settings(self.folder / f"after-{step}", None, ApiSettings(), (), destination=self.kind)

    @property
    def moments(self) -> list[datetime]:
        """When the runs were."""
        return [datetime.fromisoformat(text) for text in json.loads((self.folder / "moments.json").read_text())]

    def reading(self, step: int) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Return a connection as readers have it: for many queries, since making one costs more than a query."""
        return open_destination(self.settings(step)).reading()

    def query(self, step: int, sql: str) -> Rows:
        with self.reading(step) as connection:
            return connection.execute(sql).fetchall()

    def page(self, step: int) -> str | None:
        path = self.settings(step).page_path
        return path.read_text("utf-8") if path.exists() else None


@pytest.fixture(params=["duckdb", "parquet"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, place: Path) -> Published:
    """What runs published into a file and, one step less, into a lake."""
    kind = request.param
    steps = STEPS if kind == "duckdb" else STEPS[:-1]

    def build(folder: Path) -> None:
        api, moments = Api(), []
        settings = Settings(folder / "data", None, ApiSettings(base_url=api.base_url, attempts=1), (), destination=kind)
        try:
            for step, (with_reports, trunks) in enumerate(steps):
                api.answer(trunks)
                done = run(settings, [Account("default", TOKEN)], accept_shrink=True, with_reports=with_reports)
                assert done.exit_code == 0, done
                assert done.snapshot_at is not None
                moments.append(done.snapshot_at.isoformat())
                shutil.copytree(settings.data_dir, folder / f"after-{step}", symlinks=True)
        finally:
            api.close()
        (folder / "moments.json").write_text(json.dumps(moments))

    return Published(built_once(tmp_path_factory, f"published-{kind}", build), kind)
