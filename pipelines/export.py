"""Moving: a consistent copy of everything that is stored, and a new destination that begins with one.

    any destination ──export──▶ DIR: manifest.json and the tables ──import──▶ an empty destination

A copy has the same tables wherever it comes from. The manifest says their types and how many rows they have, so that
what is cut short, or was made by something else, is not taken for a copy.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipelines import __version__, catalog
from pipelines.catalog import DATASET, literal, quoted
from pipelines.destination import open_destination
from pipelines.dlt_load import discard_dlt_folder
from pipelines.errors import SettingsError, nothing_stored
from pipelines.lock import holding_lock
from pipelines.outcome import format_moment
from pipelines.publish import publish_reports
from transforms import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipelines.settings import Settings

Form = Literal["parquet", "csv", "duckdb"]
FORMS: tuple[Form, ...] = ("parquet", "csv", "duckdb")
_TABLES = {table.name: table for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS)}
_MANIFEST = "manifest.json"
_WAREHOUSE = "warehouse.duckdb"
_ROWS_AT_ONCE = 100_000

Types = dict[str, schema.ColumnType]


@dataclass(frozen=True)
class _Copied:
    """A table of a copy: its columns and how many rows it has."""

    columns: Types
    row_count: int


# ---------------------------------------------------------------------- export


def export_tables(settings: Settings, folder: Path, form: Form, as_of: datetime | None = None) -> dict[str, int]:
    """Write a copy of all tables into a new folder and return how many rows each has.

    With `as_of` (UTC) it is what was known at that moment: later snapshots and versions are not in it, and versions
    that ended later are current. Raises SettingsError if nothing is stored or the folder has something in it.
    """
    destination = open_destination(settings)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} is there already and not empty; --output needs a new folder")
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with destination.reading() as connection:
            queries = _queries(connection, as_of)
            if not connection.execute(f"FROM ({queries[schema.SIP_TRUNK_SNAPSHOTS.name]}) LIMIT 1").fetchall():
                raise nothing_stored(f"{destination.place} up to {as_of}")
            draft.mkdir(parents=True)
            copied = {name: _write_table(connection, name, query, draft, form) for name, query in queries.items()}
        if form == "duckdb":
            with duckdb.connect(draft / _WAREHOUSE) as copy:
                catalog.describe_tables(copy)
                publish_reports(copy)
        _write_manifest(draft / _MANIFEST, form, as_of, copied)
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {name: table.row_count for name, table in copied.items()}


def _queries(connection: duckdb.DuckDBPyConnection, as_of: datetime | None) -> dict[str, str]:
    """Return the query of each table that is stored: all of it, or what was known at a moment."""
    names = [name for name in _TABLES if catalog.exists(connection, name)]
    if as_of is None:
        return {name: f"SELECT * FROM {DATASET}.{name}" for name in names}
    moment = f"TIMESTAMPTZ {literal(as_of)}"
    history = f"{DATASET}.{schema.SIP_TRUNKS_HISTORY.name}"
    columns = ", ".join(map(quoted, catalog.read_columns(connection, schema.SIP_TRUNKS.name)))
    trunks = f"SELECT {columns} FROM {history} WHERE valid_from <= {moment} AND coalesce(valid_to > {moment}, true)"
    entries = ", ".join(map(quoted, catalog.read_columns(connection, schema.SIP_TRUNK_ALLOWED_IPS.name)))
    special = {
        schema.SIP_TRUNKS.name: trunks,
        schema.SIP_TRUNKS_HISTORY.name: f"SELECT * REPLACE (CASE WHEN valid_to <= {moment} THEN valid_to END AS "
        f"valid_to) FROM {history} WHERE valid_from <= {moment}",
        schema.SIP_TRUNK_ALLOWED_IPS.name: f"SELECT {entries} FROM (SELECT *, id AS trunk_id, list[position + 1] AS ip "
        f"FROM (SELECT *, unnest(range(len(list))) AS position FROM (SELECT *, "
        f"from_json(allowed_inbound_ips, '[\"VARCHAR\"]') AS list FROM ({trunks}))))",
    }
    return {name: special.get(name, f"SELECT * FROM {DATASET}.{name} WHERE snapshot_at <= {moment}") for name in names}


def _write_table(connection: duckdb.DuckDBPyConnection, name: str, query: str, folder: Path, form: Form) -> _Copied:
    types = _types_of(connection, _TABLES[name], query)
    arrow_schema = _arrow_schema(_TABLES[name], types, with_lists=form == "parquet")
    row_count = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal row_count
        rows = connection.execute(_select_lists(types, query) if form == "parquet" else query)
        for batch in rows.to_arrow_reader(_ROWS_AT_ONCE):
            row_count += len(batch)
            yield batch.cast(arrow_schema)

    if form == "duckdb":
        with duckdb.connect(folder / _WAREHOUSE) as copy:
            columns = ", ".join(f"{quoted(column)} {schema.SQL_TYPES[kind]}" for column, kind in types.items())
            copy.execute(f"CREATE SCHEMA IF NOT EXISTS {DATASET}")
            copy.execute(f"CREATE TABLE {DATASET}.{name} ({columns})")
            copy.register("copied", pa.RecordBatchReader.from_batches(arrow_schema, batches()))
            copy.execute(f"INSERT INTO {DATASET}.{name} SELECT * FROM copied")
    elif form == "parquet":
        with pq.ParquetWriter(folder / f"{name}.parquet", arrow_schema, compression="zstd") as writer:
            for batch in batches():
                writer.write_batch(batch)
    else:
        # Quotes tell an empty text from a missing one.
        options = pyarrow.csv.WriteOptions(quoting_style="all_valid")
        with pyarrow.csv.CSVWriter(folder / f"{name}.csv", arrow_schema, write_options=options) as writer:
            for batch in batches():
                writer.write_batch(batch)
    return _Copied(types, row_count)


def _types_of(connection: duckdb.DuckDBPyConnection, table: schema.Table, query: str) -> Types:
    declared = {column.name: column.type for column in table.columns}
    described = connection.execute(f"DESCRIBE {query}").fetchall()
    return {name: declared.get(name) or catalog.TYPES_BY_SQL[sql_type] for name, sql_type, *_ in described}


def _select_lists(types: Types, query: str) -> str:
    """Return the query with the lists that are JSON in it as lists."""
    lists = [name for name, kind in types.items() if kind == "text_list"]
    casts = ", ".join(f"from_json({quoted(name)}, '[\"VARCHAR\"]') AS {quoted(name)}" for name in lists)
    return f"SELECT * REPLACE ({casts}) FROM ({query})" if lists else query


def _arrow_schema(table: schema.Table, types: Types, *, with_lists: bool) -> pa.Schema:
    return pa.schema(
        [
            pa.field(
                name,
                schema.arrow_type("text" if kind == "text_list" and not with_lists else kind),
                nullable=table.may_be_null(name),
                metadata=schema.JSON_FIELD if kind == "json" else None,
            )
            for name, kind in types.items()
        ]
    )


def _write_manifest(path: Path, form: Form, as_of: datetime | None, copied: Mapping[str, _Copied]) -> None:
    manifest = {
        "sip_trunks": __version__,
        "exported_at": format_moment(datetime.now(UTC)),
        "as_of": as_of and format_moment(as_of),
        "format": form,
        "tables": {name: vars(table) for name, table in copied.items()},
    }
    path.write_text(json.dumps(manifest, indent=1), "utf-8")


# ---------------------------------------------------------------------- import


def import_tables(settings: Settings, folder: Path) -> dict[str, int]:
    """Begin a destination with a copy and return how many rows each table got.

    Raises SettingsError if the folder holds no complete copy or the destination has something stored already.
    """
    form, manifest = _read_manifest(folder)
    destination = open_destination(settings)
    with holding_lock(settings):
        if destination.exists():
            raise SettingsError(f"{destination.place} has trunks already; a copy can only begin an empty destination")
        tables = _read_tables(folder, form, manifest)
        destination.discard_work()
        try:
            with destination.working() as connection:
                destination.seed(connection, tables)
                if destination.publishes_reports:
                    publish_reports(connection)
            destination.publish(max(tables[schema.SIP_TRUNK_SNAPSHOTS.name]["snapshot_at"].to_pylist()))
        finally:
            destination.discard_work()
            discard_dlt_folder(settings)
    return {name: len(table) for name, table in tables.items()}


def _read_manifest(folder: Path) -> tuple[Form, dict[str, _Copied]]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        tables = {name: _Copied(**manifest["tables"][name]) for name in _TABLES if name in manifest["tables"]}
        form: Form = FORMS[FORMS.index(manifest["format"])]
    except FileNotFoundError:
        raise SettingsError(f"{folder} holds no copy: there is no {_MANIFEST}; sip-trunks export makes one") from None
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"{folder / _MANIFEST} is none of sip-trunks export") from None
    missing = [table.name for table in schema.TABLES if table.name not in tables]
    if missing:
        raise SettingsError(f"{folder / _MANIFEST} lacks the table {missing[0]}")
    return form, tables


def _read_tables(folder: Path, form: Form, manifest: Mapping[str, _Copied]) -> dict[str, pa.Table]:
    tables = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, expected in manifest.items():
            try:
                source = _source(folder, name, form, expected.columns)
                query = source if form == "parquet" else _select_lists(expected.columns, source)
                if form == "duckdb":
                    connection.execute(f"ATTACH IF NOT EXISTS {literal(folder / _WAREHOUSE)} AS copy (READ_ONLY)")
                table = connection.execute(query).to_arrow_table()
                tables[name] = table.cast(_arrow_schema(_TABLES[name], expected.columns, with_lists=True))
            except (duckdb.Error, pa.ArrowInvalid, KeyError) as error:
                reason = str(error).partition("\n")[0]
                raise SettingsError(f"{folder} is no complete copy: {name} cannot be read ({reason})") from None
            if len(table) != expected.row_count:
                raise SettingsError(
                    f"{folder} is no complete copy: {name} has {len(table)} rows, its manifest {expected.row_count}"
                )
    return tables


def _source(folder: Path, name: str, form: Form, types: Types) -> str:
    columns = ", ".join(map(quoted, types))
    match form:
        case "parquet":
            return f"SELECT {columns} FROM read_parquet({literal(folder / f'{name}.parquet')})"
        case "duckdb":
            return f"SELECT {columns} FROM copy.{DATASET}.{name}"
        case "csv":
            file = literal(folder / f"{name}.csv")
            kinds = ", ".join(f"{literal(column)}: {literal(schema.SQL_TYPES[kind])}" for column, kind in types.items())
            return (
                f"SELECT {columns} FROM read_csv({file}, header = true, auto_detect = false, "
                f"columns = {{{kinds}}}, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
                "allow_quoted_nulls = false)"
            )
