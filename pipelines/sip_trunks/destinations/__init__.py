"""Where snapshots are stored, and which destination the settings name.

    duckdb     duckdb_file.py    one file, replaced as a whole
    parquet    parquet_lake.py   folders of Parquet files; publishing switches to a new version of them
               delta_lake.py     the same tables in the Delta format
    any other  server.py         any database that dlt can merge into, by dlt's name for it

All of them are read through a DuckDB connection that shows the same tables (`sip_trunks.warehouse`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination


def open_destination(settings: Settings) -> Destination:
    """Return the destination that the settings name."""
    if settings.destination == "parquet" and settings.table_format == "delta":
        from sip_trunks.destinations.delta_lake import DeltaLake

        return DeltaLake(settings)
    if settings.destination == "parquet":
        from sip_trunks.destinations.parquet_lake import ParquetLake

        return ParquetLake(settings)
    if settings.destination == "duckdb":
        from sip_trunks.destinations.duckdb_file import DuckDBFile

        return DuckDBFile(settings)
    from sip_trunks.destinations.server import DatabaseServer

    return DatabaseServer(settings)
