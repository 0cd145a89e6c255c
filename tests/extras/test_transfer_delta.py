"""Copies of a lake of Delta tables and into one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sip_trunks.operations.transfer import export_tables, import_tables
from tests.support.transfers import at, contents

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.transfers import Past


def test_a_delta_lake_is_initialized_from_an_export_and_exported_again(past: Past, place: Path) -> None:
    lake = replace(at(place / "lake", "parquet"), table_format="delta")
    stored = contents(past.settings("parquet"))
    import_tables(lake, past.copy("parquet", "duckdb"))
    assert contents(lake) == stored
    export_tables(lake, place / "copy", "csv")
    import_tables(at(place / "begun", "parquet"), place / "copy")
    assert contents(at(place / "begun", "parquet")) == stored
