"""Where snapshots are stored, and which destination the settings name.

    duckdb     duckdb_file.py    one file, replaced as a whole
    parquet    parquet_lake.py   folders of Parquet files, a version of them published by one switch
               delta_lake.py     the same as Delta tables
    any other  server.py         every database that dlt can merge into, by dlt's name for it

All of them are read through a DuckDB connection that has the same tables in it (`sip_trunks.warehouse`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination


def open_destination(settings: Settings) -> Destination:
    """Return the destination that the settings name."""
    if settings.destination == "parquet" and settings.table_format != "parquet":
        from sip_trunks.destinations.delta_lake import TableLake

        return TableLake(settings)
    if settings.destination == "parquet":
        from sip_trunks.destinations.parquet_lake import Lake

        return Lake(settings)
    if settings.destination == "duckdb":
        from sip_trunks.destinations.duckdb_file import Warehouse

        return Warehouse(settings)
    from sip_trunks.destinations.server import Server

    return Server(settings)
