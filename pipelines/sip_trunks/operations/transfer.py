"""Transfer: export a consistent copy of everything that is stored, and import it into an empty destination.

    any destination ──export──▶ DIR: manifest.json and the tables ──import──▶ an empty destination

A copy has the same tables for every destination and format. The manifest has their types and numbers of rows, so that
an import detects an incomplete copy and files from other programs.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Literal

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sip_trunks import __version__
from sip_trunks.core.errors import DestinationError, UsageError, describe_error
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.provider_catalog import read_usable_catalog
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.dlt_pipeline import discard_dlt_folder
from sip_trunks.reporting.publish import publish_page, publish_tables
from sip_trunks.run.result import format_moment
from sip_trunks.warehouse import sql, state
from sip_trunks.warehouse.sql import DATASET, literal, quoted
from sip_trunks.warehouse.views import create_views
from trunk_transforms import schema
from trunk_transforms.parse.column_names import claim_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination

CopyFormat = Literal["parquet", "csv", "duckdb"]
COPY_FORMATS: tuple[CopyFormat, ...] = ("parquet", "csv", "duckdb")
_TABLES = {table.name: table for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS)}
_MANIFEST = "manifest.json"
_WAREHOUSE = "warehouse.duckdb"
_ROWS_AT_ONCE = 100_000
_LONGEST_LINE_BYTES = 2**27

Types = dict[str, schema.ColumnType]


@dataclass(frozen=True)
class _Copied:
    """The columns and the number of rows of a table in a copy."""

    columns: Types
    row_count: int


# ---------------------------------------------------------------------- export


def export_tables(settings: Settings, folder: Path, form: CopyFormat, as_of: datetime | None = None) -> dict[str, int]:
    """Write a copy of all tables into a new folder and return the number of rows by table.

    With `as_of` (UTC) the copy has the state at that moment: later snapshots and versions are left out, and versions
    that ended later are current. Raises UsageError if nothing is stored or the folder is not empty.
    """
    destination = open_destination(settings)
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty; --output needs a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=f".{folder.name[:50]}.", dir=folder.parent))
    try:
        with destination.reading() as connection:
            queries = _queries(connection, destination, as_of)
            copied = _write_tables(connection, draft, form, queries)
            if form == "duckdb":
                _complete_warehouse(settings, draft / _WAREHOUSE)
        _write_manifest(draft / _MANIFEST, form, as_of, copied)
        draft.chmod(0o755)
        try:
            draft.replace(folder)
        except OSError as error:
            raise UsageError(f"{folder} was created by another program meanwhile ({error.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {name: table.row_count for name, table in copied.items()}


def _write_tables(
    connection: duckdb.DuckDBPyConnection, folder: Path, form: CopyFormat, queries: Mapping[str, str]
) -> dict[str, _Copied]:
    """Write all tables. Raises DestinationError if the folder cannot be written."""
    try:
        return {name: _write_table(connection, name, query, folder, form) for name, query in queries.items()}
    except duckdb.Error as error:
        raise _unwritable(error) from error


def _complete_warehouse(settings: Settings, path: Path) -> None:
    """Add the views, comments and reports of a published file to a copied one. Raises DestinationError."""
    try:
        with duckdb.connect(path) as copy:
            copy.execute("SET TimeZone = 'UTC'")
            create_views(copy, partial(read_usable_catalog, settings))
            span = state.read_observation_span(copy)
            if span:
                publish_tables(copy, settings, span[1])
            copy.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise _unwritable(error) from error


def _unwritable(error: duckdb.Error) -> DestinationError:
    return DestinationError(f"the copy cannot be written: {str(error).partition(chr(10))[0]}")


def _queries(connection: duckdb.DuckDBPyConnection, destination: Destination, as_of: datetime | None) -> dict[str, str]:
    """Return the query of each stored table: all of its rows, or the state at a moment.

    If readers may see half of a run, the moment is that of the last complete one.
    """
    names = [name for name in _TABLES if sql.exists(connection, name)]
    ((newest, oldest),) = connection.execute(
        f"SELECT max(snapshot_at), min(snapshot_at) FROM {DATASET}.{schema.SIP_TRUNK_SNAPSHOTS.name}"
    ).fetchall()
    if as_of is not None and oldest > as_of:
        raise UsageError(f"nothing was stored at {as_of}; the first snapshot is from {oldest}")
    if as_of is None and not destination.is_atomic:
        as_of = newest
    if as_of is None:
        return {name: f"SELECT * FROM {DATASET}.{name}" for name in names}
    moment = f"TIMESTAMPTZ {literal(as_of)}"
    was_known = f"valid_from <= {moment} AND {state.known_accounts(as_of)}"
    history = f"{DATASET}.{schema.SIP_TRUNKS_HISTORY.name}"
    columns = ", ".join(map(quoted, sql.read_columns(connection, schema.SIP_TRUNKS.name)))
    trunks = f"SELECT {columns} FROM {history} WHERE {was_known} AND coalesce(valid_to > {moment}, true)"
    entries = ", ".join(map(quoted, sql.read_columns(connection, schema.SIP_TRUNK_ALLOWED_IPS.name)))
    special = {
        schema.SIP_TRUNKS.name: trunks,
        schema.SIP_TRUNKS_HISTORY.name: f"SELECT * REPLACE (CASE WHEN valid_to <= {moment} THEN valid_to END AS "
        f"valid_to) FROM {history} WHERE {was_known}",
        schema.SIP_TRUNK_ALLOWED_IPS.name: f"SELECT {entries} FROM (SELECT *, list[position + 1] AS ip "
        f"FROM (SELECT *, unnest(range(len(list))) AS position FROM "
        f"(SELECT account, id AS trunk_id, row_version, _dlt_load_id, "
        f"from_json(allowed_inbound_ips, '[\"VARCHAR\"]') AS list FROM ({trunks}))))",
    }
    return {name: special.get(name, f"SELECT * FROM {DATASET}.{name} WHERE snapshot_at <= {moment}") for name in names}


def _write_table(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, folder: Path, form: CopyFormat
) -> _Copied:
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
    return {name: declared.get(name) or sql.TYPES_BY_SQL[sql_type] for name, sql_type, *_ in described}


def _select_lists(types: Types, query: str) -> str:
    """Return the query with the lists, which it has as JSON, as lists."""
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


def _write_manifest(path: Path, form: CopyFormat, as_of: datetime | None, copied: Mapping[str, _Copied]) -> None:
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
    """Initialize an empty destination from a copy and return the number of rows by table.

    Raises UsageError if the folder has no complete copy or the destination is not empty.
    """
    form, manifest = _read_manifest(folder)
    destination = open_destination(settings)
    with holding_lock(settings):
        if _has_accounts(destination):
            raise UsageError(f"{destination.location} is not empty; import needs an empty destination")
        tables = _read_tables(folder, form, manifest)
        snapshot_at = max(tables[schema.SIP_TRUNK_SNAPSHOTS.name]["snapshot_at"].to_pylist())
        destination.discard_work()
        try:
            with destination.working() as connection:
                destination.initialize(connection, tables)
                inputs = publish_tables(connection, settings, snapshot_at) if destination.publishes_reports else None
            destination.publish(snapshot_at)
            try:
                publish_page(settings, destination, snapshot_at, inputs)
            except OSError as error:
                raise DestinationError(f"everything is stored except the page: {describe_error(error)}") from error
        finally:
            destination.discard_work()
            discard_dlt_folder(settings)
    return {name: len(table) for name, table in tables.items()}


def _has_accounts(destination: Destination) -> bool:
    """Whether any account is stored; all of them may have been deleted."""
    if not destination.exists():
        return False
    with destination.reading((schema.SIP_TRUNK_SNAPSHOTS.name,)) as connection:
        return state.read_observation_span(connection) is not None


def _read_manifest(folder: Path) -> tuple[CopyFormat, dict[str, _Copied]]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        tables = {name: _Copied(**values) for name, values in manifest["tables"].items()}
        form: CopyFormat = COPY_FORMATS[COPY_FORMATS.index(manifest["format"])]
        are_sound = all(_is_sound(_TABLES[name], table) for name, table in tables.items())
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} has no {_MANIFEST}; create a copy with sip-trunks export") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        are_sound = False
    if not are_sound:
        raise UsageError(f"{folder / _MANIFEST} is not a valid manifest of sip-trunks export")
    missing = [table.name for table in schema.TABLES if table.name not in tables]
    if missing:
        raise UsageError(f"{folder / _MANIFEST} lacks the table {missing[0]}")
    if not tables[schema.SIP_TRUNK_SNAPSHOTS.name].row_count:
        raise UsageError(f"{folder / _MANIFEST} lists no snapshots; there is nothing to import")
    return form, tables


def _is_sound(table: schema.Table, copied: _Copied) -> bool:
    """Whether a run could have created these columns; a manifest may come from anywhere."""
    declared = {column.name: column.type for column in table.columns}
    others = {name: kind for name, kind in copied.columns.items() if name not in declared}
    fields = {name.removesuffix(schema.VARIANT_SUFFIX) for name in others} - set(declared)
    return (
        declared.items() <= copied.columns.items()
        and set(others.values()) <= set(sql.TYPES_BY_SQL.values())
        and all(claim_columns([name]) == {name: name} for name in fields)
    )


def _read_tables(folder: Path, form: CopyFormat, manifest: Mapping[str, _Copied]) -> dict[str, pa.Table]:
    tables: dict[str, pa.Table] = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, expected in manifest.items():
            try:
                source = _source(folder, name, form, expected.columns)
                query = source if form == "parquet" else _select_lists(expected.columns, source)
                if form == "duckdb" and not tables:
                    connection.execute(f"ATTACH {literal(folder / _WAREHOUSE)} AS copy (READ_ONLY)")
                    # A table of the file may be a view on any file of this machine.
                    connection.execute("SET enable_external_access = false")
                table = connection.execute(query).to_arrow_table()
                tables[name] = table.cast(_arrow_schema(_TABLES[name], expected.columns, with_lists=True))
            except (duckdb.Error, ValueError, LookupError, NotImplementedError) as error:
                reason = str(error).partition("\n")[0]
                raise UsageError(f"{folder} is not a complete copy: {name} cannot be read ({reason})") from None
            if len(table) != expected.row_count:
                raise UsageError(
                    f"{folder} is not a complete copy: {name} has {len(table)} rows, its manifest {expected.row_count}"
                )
    return tables


def _source(folder: Path, name: str, form: CopyFormat, types: Types) -> str:
    columns = ", ".join(map(quoted, types))
    match form:
        case "parquet":
            return (
                f"SELECT {columns} FROM read_parquet({literal(folder / f'{name}.parquet')}, hive_partitioning = false)"
            )
        case "duckdb":
            return f"SELECT {columns} FROM copy.{DATASET}.{name}"
        case "csv":
            file = literal(folder / f"{name}.csv")
            kinds = ", ".join(f"{literal(column)}: {literal(schema.SQL_TYPES[kind])}" for column, kind in types.items())
            return (
                f"SELECT {columns} FROM read_csv({file}, header = true, auto_detect = false, "
                f"columns = {{{kinds}}}, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
                f"allow_quoted_nulls = false, hive_partitioning = false, max_line_size = {_LONGEST_LINE_BYTES}, "
                f"buffer_size = {2 * _LONGEST_LINE_BYTES})"
            )
