"""Transfer: export a consistent copy of everything that is stored, and import it into an empty destination.

    any destination ──export──▶ DIR: manifest.json and the tables ──import──▶ an empty destination

A copy has the same tables for every destination and format. The manifest has their types and numbers of rows, so that
an import detects an incomplete copy and files from other programs.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sip_trunks import __version__
from sip_trunks.core.errors import DestinationError, UsageError, describe_error, first_line
from sip_trunks.core.files import writing_folder
from sip_trunks.core.lock import holding_lock
from sip_trunks.core.logs import say
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.base import Destination
from sip_trunks.destinations.duckdb_file import attach_new_file
from sip_trunks.reporting.publish import publish_page, publish_reports, publish_tables
from sip_trunks.run.result import format_moment
from sip_trunks.run.run import clean_work
from sip_trunks.warehouse import sql, state
from sip_trunks.warehouse.provider_catalog import read_usable_catalog
from sip_trunks.warehouse.sql import DATASET, file_literal, literal, quoted
from sip_trunks.warehouse.views import create_views, write_audit
from trunk_transforms import schema
from trunk_transforms.parse.column_names import claim_columns
from trunk_transforms.schema.findings import AUDITED_RULES, FINDINGS_HISTORY
from trunk_transforms.schema.reports import DERIVED_NAMES

CopyFormat = Literal["parquet", "csv", "duckdb"]
_TABLES = {table.name: table for table in schema.EVERY_TABLE}
_AUDIT_TABLES = {table.name for table in schema.AUDIT_TABLES}
_MANIFEST = "manifest.json"
_WAREHOUSE = "warehouse.duckdb"
_ROWS_AT_ONCE = 100_000
_LONGEST_LINE_BYTES = 2**27


class _Copied(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns and the number of rows of a table in a copy."""

    columns: dict[str, schema.ColumnType]
    row_count: int


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `manifest.json`; `sip_trunks` is the release that wrote it."""

    sip_trunks: str = __version__
    exported_at: str | None = None
    as_of: str | None = None
    format: CopyFormat
    tables: dict[str, _Copied]


# ---------------------------------------------------------------------- export


def export_tables(
    settings: Settings, folder: Path, format_name: CopyFormat, as_of: datetime | None = None
) -> dict[str, int]:
    """Write a copy of all tables into a new folder and return the number of rows by table.

    With `as_of` (UTC), the copy has the state at that time: later snapshots and versions are omitted, and versions that
    ended later are current. Raises UsageError if nothing is stored or the folder is not empty.
    """
    destination = open_destination(settings)
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty; --output needs a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with writing_folder(folder, settings.state_dir) as draft:
        with destination.reading() as connection:
            queries = _queries(connection, destination, as_of)
            copied = _write_tables(settings, connection, queries, draft, format_name)
        manifest = _Manifest(
            exported_at=format_moment(datetime.now(UTC)),
            as_of=format_moment(as_of) if as_of else None,
            format=format_name,
            tables=copied,
        )
        (draft / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} was created by another program in the meantime")
    return {name: table.row_count for name, table in copied.items()}


def _write_tables(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    queries: Mapping[str, str],
    folder: Path,
    format_name: CopyFormat,
) -> dict[str, _Copied]:
    """Write all tables; a DuckDB file also gets views, comments and reports. Raises DestinationError."""
    try:
        if format_name == "duckdb":
            history = queries[schema.TRUNKS.history.name]
            ((row_count,),) = connection.execute(f"SELECT count(*) FROM ({history})").fetchall()
            with duckdb.connect() as creating:
                attach_new_file(creating, folder / _WAREHOUSE, "copy", row_count)
        copied = {name: _write_table(connection, name, query, folder, format_name) for name, query in queries.items()}
        if format_name == "duckdb":
            with duckdb.connect(folder / _WAREHOUSE) as copy:
                copy.execute("SET TimeZone = 'UTC'")
                create_views(copy, partial(read_usable_catalog, settings))
                if span := state.read_observation_span(copy):
                    publish_tables(copy, settings, span[1], write_audit)
                # The audit may have opened and closed findings.
                for name in _AUDIT_TABLES & copied.keys():
                    ((row_count,),) = copy.execute(f"SELECT count(*) FROM {DATASET}.{name}").fetchall()
                    copied[name] = _Copied(copied[name].columns, row_count)
                copy.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise DestinationError(f"the copy cannot be written: {first_line(error)}") from error
    return copied


def _queries(connection: duckdb.DuckDBPyConnection, destination: Destination, as_of: datetime | None) -> dict[str, str]:
    """Return the query of each stored table: all of its rows, or its state at `as_of`.

    If readers can see a part of a run, the copy has the state at the last complete run.
    """
    names = [name for name in _TABLES if sql.exists(connection, name)]
    span = state.read_observation_span(connection)
    if as_of is not None and span and span[0] > as_of:
        raise UsageError(f"nothing was stored at {as_of}; the first snapshot is from {span[0]}")
    if as_of is None and span and not destination.is_atomic:
        as_of = span[1]
    if as_of is None:
        return {name: f"SELECT * FROM {DATASET}.{name}" for name in names}
    moment = f"TIMESTAMPTZ {literal(as_of)}"
    was_known = f"valid_from <= {moment} AND {state.known_accounts(as_of)}"
    special = {}
    for resource in schema.RESOURCES:
        history = f"{DATASET}.{resource.history.name}"
        columns = ", ".join(map(quoted, sql.read_columns(connection, resource.name)))
        rows = f"SELECT {columns} FROM {history} WHERE {was_known} AND coalesce(valid_to > {moment}, true)"
        ended = f"CASE WHEN valid_to <= {moment} THEN valid_to END AS valid_to"
        special[resource.name] = rows
        special[resource.history.name] = f"SELECT * REPLACE ({ended}) FROM {history} WHERE {was_known}"
        if resource.entries:
            special[resource.entries.table.name] = _select_entries(connection, resource.entries, rows)
    special[FINDINGS_HISTORY.name] = (
        f"SELECT * REPLACE (CASE WHEN closed_at <= {moment} THEN closed_at END AS closed_at, "
        f"CASE WHEN closed_at <= {moment} THEN closed_because END AS closed_because) "
        f"FROM {DATASET}.{FINDINGS_HISTORY.name} WHERE opened_at <= {moment}"
    )
    special[AUDITED_RULES.name] = f"FROM {DATASET}.{AUDITED_RULES.name} WHERE audited_at <= {moment}"
    return {name: special.get(name, f"SELECT * FROM {DATASET}.{name} WHERE snapshot_at <= {moment}") for name in names}


def _select_entries(connection: duckdb.DuckDBPyConnection, entries: schema.Entries, rows: str) -> str:
    """Return the query of the entries of a list column of these rows."""
    columns = ", ".join(map(quoted, sql.read_columns(connection, entries.table.name)))
    lists = (
        f"SELECT account, id AS {entries.parent}, row_version, _dlt_load_id, "
        f"from_json({entries.list_column}, '[\"VARCHAR\"]') AS list FROM ({rows})"
    )
    numbered = f"SELECT *, unnest(range(len(list))) AS position FROM ({lists})"
    return f"SELECT {columns} FROM (SELECT *, list[position + 1] AS {entries.value} FROM ({numbered}))"


def _write_table(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, folder: Path, format_name: CopyFormat
) -> _Copied:
    declared = {column.name: column.type for column in _TABLES[name].columns}
    described = connection.execute(f"DESCRIBE {query}").fetchall()
    types = {column: declared.get(column) or sql.TYPES_BY_SQL[sql_type] for column, sql_type, *_ in described}
    arrow_schema = _arrow_schema(_TABLES[name], types, with_lists=format_name == "parquet")
    row_count = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal row_count
        rows = connection.execute(_select_lists(types, query) if format_name == "parquet" else query)
        for batch in rows.to_arrow_reader(_ROWS_AT_ONCE):
            row_count += len(batch)
            yield batch.cast(arrow_schema)

    if format_name == "duckdb":
        with duckdb.connect(folder / _WAREHOUSE) as copy:
            columns = ", ".join(f"{quoted(column)} {schema.SQL_TYPES[kind]}" for column, kind in types.items())
            copy.execute(f"CREATE SCHEMA IF NOT EXISTS {DATASET}")
            copy.execute(f"CREATE TABLE {DATASET}.{name} ({columns})")
            copy.register("copied", pa.RecordBatchReader.from_batches(arrow_schema, batches()))
            copy.execute(f"INSERT INTO {DATASET}.{name} SELECT * FROM copied")
    else:
        path = folder / f"{name}.{format_name}"
        if format_name == "parquet":
            writer = pq.ParquetWriter(path, arrow_schema, compression="zstd")
        else:
            # An empty text has quotes, a null has none.
            options = pyarrow.csv.WriteOptions(quoting_style="all_valid")
            writer = pyarrow.csv.CSVWriter(path, arrow_schema, write_options=options)
        with writer:
            for batch in batches():
                writer.write_batch(batch)
    return _Copied(types, row_count)


def _select_lists(types: Mapping[str, schema.ColumnType], query: str) -> str:
    """Return the query with lists in place of the JSON that it has for them."""
    lists = [name for name, kind in types.items() if kind == "text_list"]
    casts = ", ".join(f"from_json({quoted(name)}, '[\"VARCHAR\"]') AS {quoted(name)}" for name in lists)
    return f"SELECT * REPLACE ({casts}) FROM ({query})" if lists else query


def _arrow_schema(table: schema.Table, types: Mapping[str, schema.ColumnType], *, with_lists: bool) -> pa.Schema:
    fields = []
    for name, kind in types.items():
        arrow_type = schema.arrow_type("text" if kind == "text_list" and not with_lists else kind)
        metadata = schema.JSON_FIELD if kind == "json" else None
        fields.append(pa.field(name, arrow_type, nullable=table.may_be_null(name), metadata=metadata))
    return pa.schema(fields)


# ---------------------------------------------------------------------- import


def import_tables(settings: Settings, folder: Path) -> dict[str, int]:
    """Initialize an empty destination from a copy and return the number of rows by table.

    Raises UsageError if the folder has no complete copy or the destination is not empty.
    """
    manifest = _read_manifest(folder)
    destination = open_destination(settings)
    # What an interrupted command has left may be everything that is stored.
    with holding_lock(settings), clean_work(settings, destination):
        if destination.exists():
            # All accounts may have been deleted.
            with destination.reading((schema.SIP_TRUNK_SNAPSHOTS.name,)) as connection:
                if state.read_observation_span(connection):
                    raise UsageError(f"{destination.location} is not empty; import needs an empty destination")
        tables = _read_tables(folder, manifest)
        snapshot_at = max(tables[schema.SIP_TRUNK_SNAPSHOTS.name]["snapshot_at"].to_pylist())
        with destination.working() as connection:
            destination.initialize(connection, {n: rows for n, rows in tables.items() if n not in _AUDIT_TABLES})
            destination.write_audit(connection, {n: rows for n, rows in tables.items() if n in _AUDIT_TABLES})
            inputs = publish_reports(connection, settings, snapshot_at, destination)
        if warning := destination.publish(snapshot_at):
            say(logging.WARNING, warning)
        try:
            publish_page(settings, destination, snapshot_at, inputs)
        except OSError as error:
            raise DestinationError(f"everything is stored except the page: {describe_error(error)}") from error
    return {name: len(table) for name, table in tables.items()}


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / _MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
        is_valid = all(_is_valid(_TABLES[name], table) for name, table in manifest.tables.items())
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} has no {_MANIFEST}; create a copy with sip-trunks export") from None
    except (ValueError, LookupError, RecursionError):
        is_valid = False
    if not is_valid:
        raise UsageError(f"{path} is not a valid manifest of sip-trunks export")
    missing = [table.name for table in schema.REQUIRED_TABLES if table.name not in manifest.tables]
    if missing:
        raise UsageError(f"{path} lacks the table {missing[0]}")
    if not manifest.tables[schema.SIP_TRUNK_SNAPSHOTS.name].row_count:
        raise UsageError(f"{path} lists no snapshots; there is nothing to import")
    return manifest


def _is_valid(table: schema.Table, copied: _Copied) -> bool:
    """Whether a run could have created these columns, because a manifest may come from another program."""
    declared = {column.name: column for column in table.columns}
    others = {name: kind for name, kind in copied.columns.items() if name not in declared}
    fields = {name.removesuffix(schema.VARIANT_SUFFIX) for name in others} - set(declared)
    return (
        all(copied.columns.get(n, c.type if c.is_optional else None) == c.type for n, c in declared.items())
        and set(others.values()) <= set(sql.TYPES_BY_SQL.values())
        and all(claim_columns([name]) == {name: name} for name in fields - DERIVED_NAMES)
    )


def _read_tables(folder: Path, manifest: _Manifest) -> dict[str, pa.Table]:
    tables: dict[str, pa.Table] = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, expected in manifest.tables.items():
            try:
                source = _source(folder, name, manifest.format, expected.columns)
                query = f"SELECT {', '.join(map(quoted, expected.columns))} FROM {source}"
                if manifest.format != "parquet":
                    query = _select_lists(expected.columns, query)
                if manifest.format == "duckdb" and not tables:
                    connection.execute(f"ATTACH {literal(folder / _WAREHOUSE)} AS copy (READ_ONLY)")
                    # A table of the file may be a view that reads other files of this machine.
                    connection.execute("SET enable_external_access = false")
                table = connection.execute(query).to_arrow_table()
                tables[name] = table.cast(_arrow_schema(_TABLES[name], expected.columns, with_lists=True))
            except (duckdb.Error, ValueError, LookupError, NotImplementedError) as error:
                raise UsageError(
                    f"{folder} is not a complete copy: {name} cannot be read ({first_line(error)})"
                ) from None
            if len(table) != expected.row_count:
                raise UsageError(
                    f"{folder} is not a complete copy: {name} has {len(table)} rows, its manifest {expected.row_count}"
                )
    return tables


def _source(folder: Path, name: str, format_name: CopyFormat, types: Mapping[str, schema.ColumnType]) -> str:
    """Return the source of a table in a copy, to be used after FROM."""
    if format_name == "duckdb":
        return f"copy.{DATASET}.{name}"
    file = file_literal(folder / f"{name}.{format_name}")
    if format_name == "parquet":
        return f"read_parquet({file}, hive_partitioning = false)"
    kinds = ", ".join(f"{literal(column)}: {literal(schema.SQL_TYPES[kind])}" for column, kind in types.items())
    return (
        f"read_csv({file}, header = true, auto_detect = false, columns = {{{kinds}}}, delim = ',', quote = '\"', "
        "escape = '\"', nullstr = '', allow_quoted_nulls = false, hive_partitioning = false, "
        f"max_line_size = {_LONGEST_LINE_BYTES}, buffer_size = {2 * _LONGEST_LINE_BYTES})"
    )
