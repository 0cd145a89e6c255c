"""Convert the records of one snapshot into rows of the stored tables: trunks with `row_version`, allowlists, drift."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from hashlib import blake2b
from itertools import accumulate, chain
from operator import methodcaller

import pyarrow as pa
import pyarrow.compute as pc

from trunk_transforms.parse.envelope import Raw
from trunk_transforms.parse.records import Columns, Drift, DriftError, read_records
from trunk_transforms.schema.resources import TRUNKS, Entries, Resource
from trunk_transforms.schema.tables import JSON_FIELD, SCHEMA_DRIFT, SIP_TRUNK_SNAPSHOTS, ColumnType
from trunk_transforms.text import printable

_HASH_BYTES = 16
_ROWS_AT_ONCE = 10_000
_ROWS_WORTH_A_TABLE = 100_000


@dataclass(frozen=True)
class ParsedSnapshot:
    """The content of one list of the API in one snapshot of one account.

    `rows` has one row per (account, id) with `row_version`. `types` has the types of its columns that come from the
    API. `drift` lists the deviations.
    """

    account: str
    resource: Resource
    rows: pa.Table
    types: Mapping[str, ColumnType]
    drift: tuple[Drift, ...]


def parse_snapshot(
    records: Iterable[Raw],
    *,
    account: str,
    resource: Resource = TRUNKS,
    known: Mapping[str, ColumnType] | None = None,
    kept: Mapping[str, str] | None = None,
    hide: Callable[[Columns], Columns] | None = None,
    undeclared_keys: Iterable[str] = (),
) -> ParsedSnapshot:
    """Return the rows of one account's snapshot. `known` are the types of the stored undeclared columns.

    `kept` is described in `read_records`. `hide` returns the columns to store in place of the original ones, such as
    pseudonyms. `row_version` is the hash of these columns. `undeclared_keys` are keys beside the records: drift.

    Raises InvalidResponseError if a record has no integer `id`.
    """
    columns = read_records(records, known, kept, declared=resource.fields)
    keys = dict.fromkeys(printable(key, 60) for key in undeclared_keys)
    envelope = tuple(Drift(key, "new_envelope_key", "not declared, not stored", 0) for key in keys)
    return build_snapshot(columns, account, resource, hide, envelope)


def build_snapshot(
    columns: Columns,
    account: str,
    resource: Resource,
    hide: Callable[[Columns], Columns] | None = None,
    envelope: tuple[Drift, ...] = (),
) -> ParsedSnapshot:
    """Return the snapshot of one list with these columns; `envelope` is the drift beside them."""
    columns = hide(columns) if hide else columns
    rows = _derive_rows(columns, _repeat(account, len(columns.table)), resource)
    rows, duplicates = drop_duplicate_ids(rows, resource.key)
    drift = (*columns.drift, *duplicates, *envelope)
    if resource is not TRUNKS:
        drift = tuple(replace(entry, column_name=f"{resource.name}.{entry.column_name}") for entry in drift)
    return ParsedSnapshot(account, resource, rows, columns.types, drift)


def parse_together(
    accounts: Mapping[str, Sequence[Raw]],
    *,
    resource: Resource = TRUNKS,
    known: Mapping[str, ColumnType] | None = None,
    hide: Callable[[Columns], Columns] | None = None,
) -> list[ParsedSnapshot]:
    """Return what `parse_snapshot` returns for each account. For small accounts, this costs a fifth.

    Raises DriftError or InvalidResponseError if an account is not as declared, without saying which one.
    """
    records = [*chain.from_iterable(accounts.values())]
    columns = read_records(records, known, declared=resource.fields, refuse_drift=True)
    columns = hide(columns) if hide else columns
    counts = [*map(len, accounts.values())]
    rows = _derive_rows(columns, pa.concat_arrays(map(_repeat, accounts, counts)), resource)
    starts = accumulate(counts, initial=0)
    snapshots = [
        ParsedSnapshot(account, resource, rows.slice(start, count), columns.types, ())
        for account, start, count in zip(accounts, starts, counts, strict=False)
    ]
    if any(drop_duplicate_ids(snapshot.rows, resource.key)[0] is not snapshot.rows for snapshot in snapshots):
        raise DriftError
    return snapshots


def _repeat(account: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(account, pa.string()), count)


def _derive_rows(columns: Columns, accounts: pa.Array, resource: Resource) -> pa.Table:
    """Return the columns as rows of the current table; `accounts` has the account of each."""
    rows = columns.table.add_column(0, "account", accounts)
    rows = rows.append_column("row_version", derive_row_version(rows, columns.types))
    marked = []  # the columns that are never null, and the texts that are JSON
    for field in rows.schema:
        is_json = columns.types.get(field.name) == "json"
        nullable = field.with_nullable(resource.current.may_be_null(field.name))
        marked.append(nullable.with_metadata(JSON_FIELD if is_json else None))
    return rows.cast(pa.schema(marked))


def derive_row_version(rows: pa.Table, types: Mapping[str, ColumnType]) -> pa.ChunkedArray:
    """Return a hash per row, as hexadecimal text, of `account` and the canonical, non-null values of the typed columns.

    Timestamps are compared as instants, allowlists are sorted, and missing fields equal null. Equal hashes mean that
    nothing changed. The order of the columns and the columns that are null do not matter.
    """
    batches = rows.to_batches(max_chunksize=_ROWS_AT_ONCE)
    return pa.chunked_array([_hash_rows(batch, types) for batch in batches], pa.string())


def _hash_rows(batch: pa.RecordBatch, types: Mapping[str, ColumnType]) -> pa.Array:
    # Name, length and text of every value, so that different rows never have the same text.
    parts = [batch.column("account"), "\n"]
    for name in sorted(types):
        text = _canonical_text(batch.column(name), types[name])
        if text.null_count < len(text):
            end = pc.if_else(pc.is_valid(text), "\n", None) if text.null_count else "\n"
            parts += [_labels(name, text), text, end]
    rows = pc.binary_join_element_wise(*parts, "", null_handling="skip").cast(pa.binary())
    # Iterates in C: a Python call per row takes longer than the hash. `to_numpy` would import NumPy.
    hashes = map(partial(blake2b, digest_size=_HASH_BYTES), rows.to_pylist())
    return pa.array([*map(methodcaller("hexdigest"), hashes)], pa.string())


def _labels(name: str, text: pa.Array) -> pa.Array:
    """Return the name and the length of each text, or null for a null."""
    sizes = pc.binary_length(text).dictionary_encode()
    labels = pc.binary_join_element_wise(f"{name}=", sizes.dictionary.cast(pa.string()), ":", "")
    return labels.take(sizes.indices)


def _canonical_text(array: pa.Array, column_type: ColumnType) -> pa.Array:
    match column_type:
        case "text" | "json":
            return array
        case "timestamp":
            return array.cast(pa.int64()).cast(pa.string())
        case "double":
            # The bits, because the text of a number may differ between releases of Arrow. + 0.0 turns -0.0 into 0.0.
            return pc.add(array, 0.0).view(pa.int64()).cast(pa.string())
        case "text_list":
            return _sorted_text(array)
        case _:
            return array.cast(pa.string())


def _sorted_text(lists: pa.Array) -> pa.Array:
    """Return the sorted entries of each list as one text, each with its length."""
    entries = pa.table({"row": pc.list_parent_indices(lists), "entry": pc.list_flatten(lists)})
    entries = entries.sort_by([("row", "ascending"), ("entry", "ascending")])
    entry = entries["entry"].combine_chunks()
    size = pc.binary_length(entry).cast(pa.string())
    text = pc.fill_null(pc.binary_join_element_wise(size, ":", entry, ""), "null")
    sizes = pc.fill_null(pc.list_value_length(lists), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(sizes).cast(pa.int32())])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, text), ",")
    return pc.if_else(pc.is_valid(lists), joined, pa.scalar(None, pa.string()))


def drop_duplicate_ids(trunks: pa.Table, key: str = "id") -> tuple[pa.Table, tuple[Drift, ...]]:
    """Return one row per value of the key, and the drift of duplicates that differ.

    The duplicate with the latest `updated_at`, if there is such a column, is kept, or else the first in the response.
    """
    ids = trunks[key]
    if pc.count_distinct(ids).as_py() == len(ids):
        return trunks, ()
    latest = [name for name in ("updated_at",) if name in trunks.column_names]
    numbered = trunks.select([key, *latest, "row_version"]).append_column("row", pa.array(range(len(ids))))
    order = numbered.sort_by([(key, "ascending"), *((name, "descending") for name in latest), ("row", "ascending")])
    kept: dict[int, tuple[int, str]] = {}
    differing: Counter[int] = Counter()
    for id_, row, version in zip(*(order[name].to_pylist() for name in (key, "row", "row_version")), strict=True):
        if version != kept.setdefault(id_, (row, version))[1]:
            differing[id_] += 1
    drift = tuple(
        Drift("id", "duplicate_id", f"id {id_} came with different contents; kept the one updated last", count + 1)
        for id_, count in differing.items()
    )
    return trunks.take(sorted(row for row, _ in kept.values())), drift


def derive_entries(rows: pa.Table, entries: Entries) -> pa.Table:
    """Return the entries of all lists of a column, in the API's order.

    Grain: one row per (account, parent, position). Needs `account`, `id`, the list column and `row_version`.
    """
    arrow_schema = entries.table.arrow_schema()
    tables = []
    for batch in rows.select(["account", "id", entries.list_column, "row_version"]).to_batches():
        lists = batch.column(entries.list_column)
        parents = pc.list_parent_indices(lists)
        first = pc.take(lists.offsets, parents) if len(parents) else pa.array([], pa.int32())
        columns = {
            "account": pc.take(batch.column("account"), parents),
            entries.parent: pc.take(batch.column("id"), parents),
            "position": pc.subtract(pc.add(pa.array(range(len(parents)), pa.int64()), lists.offsets[0]), first),
            entries.value: pc.list_flatten(lists),
            "row_version": pc.take(batch.column("row_version"), parents),
        }
        tables.append(pa.table(columns, schema=arrow_schema))
    return pa.concat_tables(tables) if tables else arrow_schema.empty_table()


def pick_rows(snapshot: ParsedSnapshot, mask: pa.ChunkedArray) -> ParsedSnapshot:
    """Return the snapshot with only the rows that the mask selects."""
    return snapshot if pc.all(mask, min_count=0).as_py() else replace(snapshot, rows=snapshot.rows.filter(mask))


def join_tables(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Return the rows of the tables in fewer, larger tables, because every table has a fixed cost.

    Columns that a table lacks become null.
    """
    joined: list[pa.Table] = []
    pending: list[pa.Table] = []
    row_count = 0
    for table in tables:
        pending.append(table)
        row_count += len(table)
        if row_count >= _ROWS_WORTH_A_TABLE:
            joined.append(_join(pending))
            pending, row_count = [], 0
    return [*joined, _join(pending)] if pending else joined


def _join(tables: list[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default").combine_chunks()


def drift_table(snapshots: Iterable[ParsedSnapshot], snapshot_at: datetime) -> pa.Table:
    """Return the drift of the snapshots as rows of `schema_drift`."""
    rows = [
        {"account": snapshot.account, "snapshot_at": snapshot_at, **vars(entry)}
        for snapshot in snapshots
        for entry in snapshot.drift
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA_DRIFT.arrow_schema())


def snapshot_table(observations: Iterable[Mapping[str, object]]) -> pa.Table:
    """Return the observations as a table of `sip_trunk_snapshots`, without optional columns that none of them has."""
    rows, full = list(observations), SIP_TRUNK_SNAPSHOTS.arrow_schema()
    absent = {column.name for column in SIP_TRUNK_SNAPSHOTS.columns if column.is_optional} - set().union(*rows)
    return pa.Table.from_pylist(rows, schema=pa.schema([field for field in full if field.name not in absent]))
