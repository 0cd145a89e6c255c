"""What the contract of destinations needs to know of those that are files: the DuckDB file and the Parquet lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from sip_trunks.core.settings import read_settings
from tests.support.destination_contract import Destination
from tests.support.lakes import assert_nothing_left_over, contents, places_with, rows_of_parquet
from tests.support.runs import query


class _Files(Destination):
    def places_with(self, text: str) -> set[str]:
        return places_with(text)

    def assert_empty(self) -> None:
        # Here the tables stay, without rows.
        assert query("SELECT count(*) FROM sip_trunks") == query("SELECT count(*) FROM sip_trunk_snapshots") == [(0,)]


class DuckdbFile(_Files):
    """The DuckDB file."""

    name = "duckdb"

    def contents(self) -> object:
        path = read_settings().warehouse_path
        return path.read_bytes(), path.stat().st_mtime_ns

    def values_in_storage(self, table: str, id_: int) -> set[Any]:
        with duckdb.connect(str(read_settings().warehouse_path), read_only=True) as connection:
            rows = connection.execute(f"SELECT * FROM famulor.{table} WHERE id = {id_}").fetchall()
        return {value for row in rows for value in row if isinstance(value, str)}

    def assert_tidy(self) -> None:
        # dlt stores its schema once more with every load.
        assert query("SELECT count(*) FROM famulor._dlt_version") == [(1,)]
        assert query("SELECT schema_name FROM duckdb_schemas() WHERE schema_name LIKE '%staging%'") == []
        assert {path.name for path in Path("data").iterdir()} <= {"state", "warehouse.duckdb"}
        assert {path.name for path in Path("data/state").iterdir()} <= {"last_run.json", "run.lock", "sizes.json"}


class ParquetLake(_Files):
    """The lake of Parquet files."""

    name = "parquet"

    def contents(self) -> object:
        return contents(Path("data/lake"))

    def values_in_storage(self, table: str, id_: int) -> set[Any]:
        return rows_of_parquet(Path("data/lake/famulor") / table, id_)

    def assert_tidy(self) -> None:
        assert_nothing_left_over(Path("data/lake"))
