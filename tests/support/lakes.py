"""What a data directory consists of, above all one with a Parquet lake in its folder `lake`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq

from sip_trunks.core.settings import read_settings
from tests.support.runs import query
from trunk_transforms import schema

if TYPE_CHECKING:
    from typing import Any

    Contents = dict[str, tuple[bytes, int]]

ROWS = schema.SIP_TRUNK_SNAPSHOT_ROWS.name
VERSION = "%Y%m%dT%H%M%S%fZ"
"""How the moment of a version is written in its name."""
NOTES = {"last_run.json", "metrics.prom", "run.lock", "runs.jsonl", "sip-trunks.log", "sizes.json"}
"""What runs leave in the folder `state`."""


def current(lake: Path) -> Path:
    """Return the folder of the version that is published."""
    return (lake / "famulor").resolve()


def parquet_files(folder: Path) -> list[Path]:
    """Return all Parquet files below a folder."""
    return sorted(folder.rglob("*.parquet"))


def contents(folder: Path) -> Contents:
    """Return what every file below a folder contains, and when it was written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def file_of_views(version: Path) -> Path:
    """Return a DuckDB file that shows the Parquet files of a version, for checks that read such a file."""
    path = Path("views.duckdb")
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        for table in schema.REQUIRED_TABLES:
            lists = [column.name for column in table.columns if column.type == "text_list"]
            casts = f"REPLACE ({', '.join(f'to_json({name}) AS {name}' for name in lists)})" if lists else ""
            files = f"read_parquet('{version / table.name}/*.parquet')"
            connection.execute(f"CREATE VIEW {table.name} AS SELECT * {casts} FROM {files}")
    return path


def assert_nothing_left_over(lake: Path) -> None:
    """Assert that the lake and the folder `state` have nothing that no snapshot accounts for."""
    assert max(path.name for path in (lake / "versions").iterdir()) == current(lake).name
    moments = {f"{moment:{VERSION}}" for (moment,) in query("SELECT snapshot_at FROM sip_trunk_snapshots")}
    assert {path.stem for path in parquet_files(lake / ROWS)} <= moments
    assert sorted(path.name for path in lake.iterdir()) == ["famulor", ROWS, "versions"]
    # Only the command `run` follows up what a killed run has noted.
    state = {path.name for path in read_settings().state_dir.iterdir() if not path.name.endswith(".follow_up.json")}
    assert state <= NOTES


def rows_of_parquet(folder: Path, id_: int) -> set[Any]:
    """Return the texts in a trunk's rows as Polars, which shares no code with Arrow or DuckDB, reads them."""
    import polars as pl

    rows = pl.read_parquet(str(folder)).filter(pl.col("id") == id_).rows()
    return {value for row in rows for value in row if isinstance(value, str)}


def places_with(text: str) -> set[str]:
    """Return the files of the data directory `data` that contain a text, compressed or not; the log aside."""
    return {
        str(path)
        for path in Path("data").rglob("*")
        if path.is_file() and path.name != "sip-trunks.log" and _contains(path, text)
    }


def _contains(path: Path, text: str) -> bool:
    if path.suffix == ".parquet":
        return text in str(pq.ParquetFile(path).read().to_pylist())
    return text.encode() in path.read_bytes()
