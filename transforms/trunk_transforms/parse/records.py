"""Parse the raw records of one snapshot into one Arrow table, and report deviations as drift.

Arrow's JSON reader reads the records in batches with an explicit schema. A batch that does not fit the schema is read
again, value by value: values of the wrong type go to `<column>__v_text`, and new fields get a type and become part of
the schema for the next batches. Both ways return the same columns.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from trunk_transforms.parse.column_names import claim_columns, column_name, quote_field
from trunk_transforms.parse.envelope import InvalidResponseError, Raw, json_type, split_records
from trunk_transforms.parse.secret_names import drop_secrets, says_secret
from trunk_transforms.parse.values import (
    DOUBLE_HOLDS_EVERY_INTEGER_BELOW,
    EXACTLY,
    FIT,
    as_text,
    as_timestamps,
    read_integer,
    read_number,
    type_of,
)
from trunk_transforms.schema.resources import TRUNKS
from trunk_transforms.schema.tables import VARIANT_SUFFIX, Column, ColumnType, arrow_type
from trunk_transforms.text import printable

BATCH_RECORDS = 10_000
BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Drift:
    """One deviation of a snapshot from the declaration. `kind` is one of `schema.DRIFT_KINDS`.

    `detail` is stored and identifies the deviation across runs: a changed wording would be reported as new drift.
    """

    column_name: str
    kind: str
    detail: str
    row_count: int


@dataclass(frozen=True)
class Columns:
    """The records of a snapshot as a table, the type of each column, and the drift.

    Grain: one row per record, in the order of the response. Declared columns always exist; undeclared fields follow in
    order of appearance, then the variants. Only `id` is never null.
    """

    table: pa.Table
    types: dict[str, ColumnType]
    drift: tuple[Drift, ...]


def read_records(
    records: Iterable[Raw],
    known: Mapping[str, ColumnType] | None = None,
    kept: Mapping[str, str] | None = None,
    *,
    declared: Mapping[str, Column] = TRUNKS.fields,
    refuse_drift: bool = False,
    batch_records: int = BATCH_RECORDS,
    batch_bytes: int = BATCH_BYTES,
) -> Columns:
    """Return the records as columns. `known` are the types of undeclared columns in earlier snapshots.

    `kept` are the columns of quoted fields in the account's last snapshot, so that a field keeps its column when
    another one would have a better claim. `declared` are the fields of a record; one of them is `id`. `records` may be
    iterated more than once.

    Raises InvalidResponseError if a record is not JSON or has no integer `id` of at most 64 bits; with `refuse_drift`,
    DriftError as soon as a batch is not as declared.
    """
    known, kept = known or {}, kept or {}
    try:
        reader = _Reader(declared, known, kept, refuse_drift=refuse_drift)
        return reader.read_all(split_records(records, batch_records, batch_bytes))
    except _BetterClaimError:  # the columns must not depend on the order of the records
        reader = _Reader(declared, known, kept, _occurring_fields(records) - declared.keys())
        return reader.read_all(split_records(records, batch_records, batch_bytes))


_FROM = ", from the field "


def origin_of(column: str, detail: str) -> str:
    """Return the quoted field of a `new_column`, which is the column itself unless the detail names another one.

    "" if only a part of its name is known.
    """
    origin = detail.partition(_FROM)[2] or quote_field(column)
    return "" if "…" in origin else origin


def _occurring_fields(records: Iterable[Raw]) -> frozenset[str]:
    """Return the fields with a value in any record. Raises InvalidResponseError if a record is not JSON."""
    names: set[str] = set()
    try:
        for record in records:
            values = json.loads(bytes(record), parse_int=read_integer)
            names |= {name for name, value in values.items() if value is not None}
    except (UnicodeDecodeError, RecursionError):
        raise InvalidResponseError("expected JSON in UTF-8 that is not nested too deeply, got something else") from None
    return frozenset(names)


@dataclass(frozen=True)
class _Field:
    """The column and type of one field of the API. A field that was always null has the type None and no column."""

    column: str
    type: ColumnType | None
    is_secret: bool = False


class DriftError(Exception):
    """A record is not as declared."""


class _BetterClaimError(Exception):
    """A new field has a better claim to a column than the field that already has it."""


class _Reader:
    """Reads batches in order, and remembers the undeclared fields of earlier batches.

    `occurring` are undeclared fields of later batches. They claim their columns first.
    """

    def __init__(
        self,
        declared: Mapping[str, Column],
        known: Mapping[str, ColumnType],
        kept: Mapping[str, str],
        occurring: frozenset[str] = frozenset(),
        *,
        refuse_drift: bool = False,
    ) -> None:
        self.declared = declared
        self._fields = {name: _Field(name, column.type) for name, column in declared.items()}
        # Expects each stored column as a field of the same name, if that field would get the column.
        self._fields |= {
            name: _Field(name, column_type, is_secret=says_secret(name))
            for name, column_type in known.items()
            if name not in declared and claim_columns({name, *occurring}, kept)[name] == name
        }
        self._known, self._kept, self._refuse_drift = known, kept, refuse_drift
        self._occurring = set(occurring)
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def read_all(self, batches: Iterator[list[Raw]]) -> Columns:
        """Return all batches as columns. Raises InvalidResponseError, see `read_records`."""
        tables = [self._read(batch) for batch in batches] or [self._read([])]
        table = pa.concat_tables(tables, promote_options="default")
        present = set(table.column_names)
        types = {f.column: f.type for f in self._fields.values() if f.type is not None and f.column in present}
        types |= dict.fromkeys(sorted(present - types.keys()), "text")  # the variants
        drift = tuple(Drift(*key, count) for key, count in sorted(self._counts.items()) if count)
        return Columns(table.select(list(types)), types, drift)

    def _read(self, batch: list[Raw]) -> pa.Table:
        """Return one batch as columns and count its drift."""
        text = b"\n".join(batch)
        try:
            text.decode()  # Arrow accepts bytes that are not UTF-8
        except UnicodeDecodeError:
            raise InvalidResponseError("expected JSON in UTF-8, got invalid bytes") from None
        columns = self._read_fitting(batch, text)
        if columns is None:
            if self._refuse_drift and batch:
                raise DriftError
            try:
                columns = self._read_value_by_value(batch)
            except RecursionError:
                raise InvalidResponseError("expected trunks, got JSON that is nested too deeply") from None
        ids = columns["id"]
        if ids.null_count:
            first = batch[pc.index(ids.is_null(), True).as_py()]
            seen = json_type(json.loads(bytes(first), parse_int=read_integer).get("id"))
            raise InvalidResponseError(
                f"expected an integer `id` of at most 64 bits in every record, {ids.null_count} of {len(ids)} have "
                f"none (the first has {seen})"
            )
        for name, column in self.declared.items():
            if column.allowed:
                self._count_unknown_values(name, column.allowed, columns[name])
        return pa.table(columns)

    def _count(self, column: str, kind: str, detail: str, count: int) -> None:
        if count and self._refuse_drift:
            raise DriftError
        self._counts[column, kind, detail] += count

    # ------------------------------------------------------------------ the batch fits

    def _read_fitting(self, batch: list[Raw], text: bytes) -> dict[str, pa.Array] | None:
        """Return the batch as Arrow reads its text, or None if it is empty or does not fit the schema."""
        readable = {name: field for name, field in self._fields.items() if field.type != "json"}
        schema = pa.schema([(name, _read_as(field.type)) for name, field in readable.items()])
        try:
            table = pj.read_json(
                pa.BufferReader(text),
                read_options=pj.ReadOptions(block_size=len(text) + 1, use_threads=False),
                parse_options=pj.ParseOptions(
                    explicit_schema=schema, unexpected_field_behavior="error", newlines_in_values=True
                ),
            ).combine_chunks()
        except pa.ArrowInvalid:
            return None
        arrays = {name: table.column(name).chunk(0) for name in table.column_names}
        if any(_has_inexact(array) for array in arrays.values()):
            return None
        columns: dict[str, pa.Array] = {}
        for name, field in readable.items():
            array = arrays[name]
            count = len(array) - array.null_count
            if name in self.declared:
                self._count_nulls(name, array, batch, text)
            elif not count or not self._accept_undeclared(name, field, count):
                continue
            columns |= self._typed(field, array)
        return columns

    def _accept_undeclared(self, name: str, field: _Field, count: int) -> bool:
        """Count an undeclared field as drift. Return false if it must not be stored."""
        self._occurring.add(name)
        if field.is_secret:
            self._count(field.column, "secret_dropped", "the name says secret; never stored", count)
            return False
        if field.column != (column_name(name) or field.column):
            detail = f"the field {quote_field(name)} would be {column_name(name)}, which is taken"
            self._count(field.column, "name_collision", detail, count)
        origin = "" if field.column == name else f"{_FROM}{quote_field(name)}"
        self._count(field.column, "new_column", f"not declared, stored as {field.type}{origin}", count)
        return True

    def _typed(self, field: _Field, array: pa.Array) -> dict[str, pa.Array]:
        """Return the column, and its variants if a text is not a valid timestamp."""
        if field.type == "double":
            array = pc.add(array, 0.0)  # 0.0 for the -0 that only the JSON reader keeps
        if field.type != "timestamp":
            return {field.column: array}
        moments, misfits = as_timestamps(array)
        count = len(misfits) - misfits.null_count
        self._count(field.column, "type_mismatch", "a string that is not a timestamp", count)
        return {field.column: moments} | ({field.column + VARIANT_SUFFIX: misfits} if count else {})

    def _count_nulls(self, name: str, array: pa.Array, batch: list[Raw], text: bytes) -> None:
        """Count nulls and missing fields separately, which Arrow does not distinguish."""
        if not array.null_count or self.declared[name].is_optional:
            return
        # The name with its colon cannot be part of a value, and these records contain no objects.
        count, key, missing = len(batch), name.encode(), 0
        if text.count(b'"%s":' % key) != count and len(re.findall(rb'"%s"\s*:' % key, text)) != count:
            rows = pc.indices_nonzero(pc.is_null(array)).to_pylist()
            missing = sum(name not in json.loads(bytes(batch[row])) for row in rows)
        self._count_absence(name, missing=missing, null=array.null_count - missing)

    def _count_absence(self, name: str, *, missing: int, null: int) -> None:
        if not self.declared[name].is_optional:
            self._count(name, "missing_column", "declared, but not in the record", missing)
        if not self.declared[name].is_nullable:
            self._count(name, "type_mismatch", f"null where {self.declared[name].type} is expected", null)

    # The wording of the details stays as it is: a drift is recognized by its text, across releases too.

    def _count_unknown_values(self, name: str, allowed: tuple[str, ...], array: pa.Array) -> None:
        for entry in pc.value_counts(array).to_pylist():
            value = entry["values"]
            if value is not None and value not in allowed:
                detail = f"{printable(value, 60)!r} is none of {', '.join(allowed)}"
                self._count(name, "unknown_value", detail, entry["counts"])

    # ------------------------------------------------------------------ it does not: value by value

    def _read_value_by_value(self, batch: Sequence[Raw]) -> dict[str, pa.Array]:
        text = b"[" + b",".join(batch) + b"]"
        records: list[dict[str, Any]] = json.loads(text, parse_float=read_number, parse_int=read_integer)
        self._learn(records)
        columns: dict[str, pa.Array] = {}
        for name, field in self._fields.items():
            values = [record.get(name) for record in records]
            count = len(values) - values.count(None)
            if name in self.declared:
                missing = sum(name not in record for record in records)
                self._count_absence(name, missing=missing, null=len(values) - count - missing)
            elif not count or not self._accept_undeclared(name, field, count):
                continue
            columns |= self._fit(field, self._without_secrets(field.column, values))
        return columns

    def _learn(self, records: list[dict[str, Any]]) -> None:
        """Give every new field a column and a type. Raises _BetterClaimError if a column needs another field."""
        names = dict.fromkeys(name for record in records for name in record)
        values = {name: [r[name] for r in records if r.get(name) is not None] for name in names}
        self._occurring |= {name for name in names if values[name] and name not in self.declared}
        columns = claim_columns(self._occurring, self._kept)
        for name, column in columns.items():
            if name in self._fields and self._fields[name].column not in ("", column):
                raise _BetterClaimError
        for name in names:
            if self._fields.get(name, _UNKNOWN).type is not None:
                continue
            if not values[name]:
                self._fields[name] = _UNKNOWN
                continue
            column = columns[name]
            if column not in self._occurring:
                self._fields.pop(column, None)  # no longer expected as a field of the same name
            column_type = self._known.get(column) or type_of(values[name])
            self._fields[name] = _Field(column, column_type, is_secret=says_secret(name))

    def _without_secrets(self, column: str, values: list[Any]) -> list[Any]:
        """Return the values without secret members of nested objects."""
        dropped: Counter[str] = Counter()
        clean = [drop_secrets(v, dropped) if isinstance(v, dict | list) else v for v in values]
        for name, count in dropped.items():
            detail = f"its member {printable(name, 60)!r} says secret; never stored"
            self._count(column, "secret_dropped", detail, count)
        return clean

    def _fit(self, field: _Field, values: list[Any]) -> dict[str, pa.Array]:
        """Return the values that fit the type as one column, and the others as text in the variant column."""
        kind = field.type or "json"
        if set(map(type, values)) <= {EXACTLY.get(kind), type(None)}:
            return self._typed(field, pa.array(values, _read_as(kind)))
        typed: list[Any] = []
        variants: list[str | None] = []
        for value in values:
            fitted = None if value is None else FIT[kind](value)
            misfits = value is not None and fitted is None
            if misfits:
                self._count(field.column, "type_mismatch", f"{json_type(value)} where {kind} is expected", 1)
            typed.append(fitted)
            variants.append(as_text(value) if misfits else None)
        columns = self._typed(field, pa.array(typed, _read_as(kind)))
        if any(variant is not None for variant in variants):
            text = pa.array(variants, pa.string())
            timestamps = columns.get(field.column + VARIANT_SUFFIX)
            columns[field.column + VARIANT_SUFFIX] = text if timestamps is None else pc.coalesce(text, timestamps)
        return columns


_UNKNOWN = _Field("", None)


def _has_inexact(array: pa.Array) -> bool:
    """Return whether a column is of doubles, of which one may be a rounded integer."""
    return array.type == pa.float64() and (pc.max(pc.abs(array)).as_py() or 0) >= DOUBLE_HOLDS_EVERY_INTEGER_BELOW


def _read_as(column_type: ColumnType | None) -> pa.DataType:
    """Return the type for the JSON reader. Timestamps are read as text and converted by `as_timestamps`."""
    if column_type is None:
        return pa.null()
    return pa.string() if column_type == "timestamp" else arrow_type(column_type)
