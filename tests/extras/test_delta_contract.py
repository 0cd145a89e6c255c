"""The lake as Delta tables: it keeps the promises of every destination."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from tests.support.assignment_story import tell
from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.destination_contract import ComparedDestinationContract, assert_whole, load_trunks
from tests.support.destination_stories import DestinationStories
from tests.support.lakes import contents, places_with
from tests.support.runs import call, query

if TYPE_CHECKING:
    from tests.support.api import Api

pytest.importorskip("deltalake", reason="NOT TESTED: Delta; pip install '.[delta]'")


def test_assignments_go_where_the_trunks_go(api: Api, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIP_TRUNKS__TABLE_FORMAT", "delta")
    tell(api, place, monkeypatch, "parquet")


class TestDeltaLake(ComparedDestinationContract, DestinationStories):
    name = "parquet"

    @pytest.fixture(autouse=True)
    def delta(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIP_TRUNKS__TABLE_FORMAT", "delta")

    def contents(self) -> object:
        return contents(Path("data/lake"))

    def values_in_storage(self, table: str, id_: int) -> set[Any]:
        import polars as pl

        rows = pl.read_delta(str(Path("data/lake/famulor_delta") / table)).filter(pl.col("id") == id_).rows()
        return {value for row in rows for value in row if isinstance(value, str)}

    def places_with(self, text: str) -> set[str]:
        return places_with(text)

    @pytest.mark.parametrize("command", ["run", "import copy"])
    def test_tables_that_an_earlier_release_set_aside_are_put_back(self, api: Api, place: Path, command: str) -> None:
        load_trunks(api, TRUNK)
        call("export", "--output", "copy")
        folder = place / "data" / "lake" / "famulor_delta"
        folder.rename(folder.with_suffix(".before"))
        (folder / "sip_trunks").mkdir(parents=True)
        assert open_destination(read_settings()).is_work_pending()
        if command == "import copy":
            assert "is not empty" in call("import", "copy", code=2)
            assert_whole([TRUNK])
        load_trunks(api, TRUNK, IP_TRUNK)
        assert_whole([TRUNK, IP_TRUNK])
        assert query("SELECT count(*) FROM sip_trunk_snapshots") == [(2,)]
