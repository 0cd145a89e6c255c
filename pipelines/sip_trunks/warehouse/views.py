"""What analysts query: views and macros in `main`, and comments on everything.

    famulor.<table>                     as it is stored
    main.<table>                        the same, its columns in order; trunks and versions with what follows from them
    main.drift, sip_trunk_changes, …    answers to questions, worked out as they are asked
    main.trunks_as_of(moment), …        macros

All of it is text that is made anew with every load, so that a column that the API has added is in it. The file's views
are read by every DuckDB since 0.10: no syntax here is younger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.warehouse.sql import DATASET, comment_on, literal, quoted, read_tables, transaction
from sip_trunks.warehouse.state import DRIFT_QUERY, OBSERVATIONS_QUERY
from trunk_transforms import schema
from trunk_transforms.enrich.addresses import HOST
from trunk_transforms.enrich.countries import COUNTRY_ALIASES, COUNTRY_NAMES
from trunk_transforms.enrich.number_patterns import (
    DID,
    DIGITS,
    NAMED_EXTENSION,
    OPTIONAL_ZERO,
    PSEUDONYM,
    SEPARATORS,
    SHORT_EXTENSION,
)
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER, host_pattern
from trunk_transforms.schema import reports as report_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import duckdb

    from trunk_transforms.enrich.providers import Providers

_TRUNKS, _HISTORY = schema.SIP_TRUNKS.name, schema.SIP_TRUNKS_HISTORY.name
_OBSERVATIONS, _DRIFT = schema.SIP_TRUNK_SNAPSHOTS.name, schema.SCHEMA_DRIFT.name
_SPACES = r"[\s\p{Z}]"


def create_views(
    connection: duckdb.DuckDBPyConnection, read_provider_catalog: Callable[[], Providers], kind: str = "TABLE"
) -> None:
    """Make the stored tables, which are of this kind (TABLE or VIEW), explain themselves and answer questions.

    Raises what `read_provider_catalog` raises, which is asked for the facts on providers.
    """
    facts, stored = read_provider_catalog(), read_tables(connection)
    with transaction(connection):
        _create_functions(connection, facts)
        for table in (*schema.TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS):
            if table.name in stored:
                _create_view_of(connection, table, stored[table.name], kind)
        if _TRUNKS in stored:
            _create_counts(connection)
        if _HISTORY in stored and _OBSERVATIONS in stored:
            _create_state(connection, stored[_HISTORY])
        if _OBSERVATIONS in stored and _DRIFT in stored:
            _create_view(connection, schema.DRIFT, DRIFT_QUERY)
            if _HISTORY in stored:
                _create_changes(connection, stored[_HISTORY])
        for name, (meaning, meanings) in schema.DLT_TABLES.items():
            if name in stored:
                comments = {column: meanings.get(column, "") for column in stored[name]}
                comment_on(connection, kind, f"{DATASET}.{name}", meaning, comments)


def _create_view(connection: duckdb.DuckDBPyConnection, table: schema.Table, query: str) -> None:
    connection.execute(f"CREATE OR REPLACE VIEW main.{table.name} AS {query}")
    comment_on(connection, "VIEW", f"main.{table.name}", table.grain, table.meanings)


def _create_macro(connection: duckdb.DuckDBPyConnection, macro: report_schema.Macro, body: str) -> None:
    connection.execute(f"CREATE OR REPLACE MACRO main.{macro.signature} AS {'TABLE ' if macro.table else ''}{body}")
    kind = "MACRO TABLE" if macro.table else "MACRO"
    connection.execute(f"COMMENT ON {kind} main.{macro.name} IS {literal(macro.meaning)}")


# ---------------------------------------------------------------------- tables as they are, and what follows from them


def _create_view_of(
    connection: duckdb.DuckDBPyConnection, table: schema.Table, stored: Mapping[str, str], kind: str
) -> None:
    names = _ordered(table, stored)
    derived = {} if table.name not in (_TRUNKS, _HISTORY) else _derived(stored)
    selected, meanings = [], {}
    for name in names:
        selected.append(quoted(name))
        meanings[name] = describe_column(table, name)
        for added, (base, expression) in derived.items():
            if base == name:
                selected.append(f"{expression} AS {added}")
                meanings[added] = report_schema.DERIVED[added].column.explanation
    connection.execute(
        f"CREATE OR REPLACE VIEW main.{table.name} AS SELECT {', '.join(selected)} FROM {DATASET}.{table.name}"
    )
    comment_on(connection, "VIEW", f"main.{table.name}", table.grain, meanings)
    comment_on(connection, kind, f"{DATASET}.{table.name}", table.grain, {n: meanings[n] for n in stored})


def _ordered(table: schema.Table, stored: Mapping[str, str]) -> list[str]:
    """Return the columns as they are declared, those of the API that are not declared after those that are."""
    order = {column.name: place for place, column in enumerate(table.columns)}
    last = order.get("updated_at", len(order))
    return sorted(stored, key=lambda name: order.get(name, last + 0.5))


def _derived(stored: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return by derived column which one it follows from, and how; a field of the API that has its name goes first."""
    macros = {
        "number_kind": report_schema.NUMBER_KIND,
        "provider": report_schema.PROVIDER_OF,
        "country_name": report_schema.COUNTRY_NAME,
    }
    bases = {name: report_schema.DERIVED[name].base for name in report_schema.IN_VIEWS if name not in stored}
    return {name: (base, f"main.{macros[name].name}({base})") for name, base in bases.items()}


def describe_column(table: schema.Table, name: str) -> str:
    """Return the meaning of a column, declared or not."""
    declared = table.meanings.get(name)
    if declared:
        return declared
    base = name.removesuffix(schema.VARIANT_SUFFIX)
    if base != name:
        return f"Values of {base} that did not fit its type, as text."
    return "A field of the API that the declaration does not know."


# ---------------------------------------------------------------------- what a value means


def _create_functions(connection: duckdb.DuckDBPyConnection, providers: Providers) -> None:
    _create_macro(connection, report_schema.NUMBER_KIND, _number_kind("phone_number::VARCHAR"))
    _create_macro(connection, report_schema.PROVIDER_OF, _provider_of("sip_address::VARCHAR", providers))
    _create_macro(connection, report_schema.COUNTRY_NAME, _country_name("country_code::VARCHAR"))


def _number_kind(number: str) -> str:
    """Return the SQL for what `transforms.numbers.derive_numbers` says of a number."""
    national = f"regexp_replace({number}, {literal(OPTIONAL_ZERO)}, '\\1')"
    compact = f"regexp_replace({national}, {literal(SEPARATORS)}, '', 'g')"
    return (
        f"CASE WHEN regexp_matches({number}, {literal(PSEUDONYM)}) THEN split_part({number}, ':', 2) "
        f"WHEN regexp_matches({compact}, {literal(DID)}) THEN 'DID' "
        f"WHEN regexp_matches({compact}, {literal(SHORT_EXTENSION)}) THEN 'extension' "
        f"WHEN NOT regexp_matches({compact}, {literal(DIGITS)}) "
        f"AND regexp_matches({number}, {literal(NAMED_EXTENSION)}) THEN 'extension' ELSE 'unknown' END"
    )


def _provider_of(address: str, providers: Providers) -> str:
    """Return the SQL for what `transforms.providers.derive_provider` says of a host."""
    host = f"regexp_replace(lower(regexp_replace({address}, '^{_SPACES}+|{_SPACES}+$', '', 'g')), '\\.$', '')"
    cases = [
        f"WHEN {host} IS NULL OR {host} = '' THEN NULL",
        f"WHEN NOT regexp_matches({host}, {literal(f'^{HOST}$')}) THEN {literal(UNKNOWN_PROVIDER)}",
    ]
    cases += [
        f"WHEN regexp_matches({host}, {literal(host_pattern(provider.hosts))}) THEN {literal(provider.name)}"
        for provider in providers.providers
        if provider.hosts
    ]
    return f"CASE {' '.join(cases)} ELSE {literal(UNKNOWN_PROVIDER)} END"


def _country_name(code: str) -> str:
    """Return the SQL for what `transforms.countries.country_name` says of a code."""
    names = COUNTRY_NAMES | {alias: COUNTRY_NAMES[meant] for alias, meant in COUNTRY_ALIASES.items()}
    canonical = f"upper(regexp_replace({code}, '^{_SPACES}+|{_SPACES}+$', '', 'g'))"
    codes, texts = (f"[{', '.join(map(literal, values))}]" for values in (names, names.values()))
    return f"CASE WHEN regexp_matches({code}, '^[[:ascii:]]*$') THEN {texts}[list_position({codes}, {canonical})] END"


# ---------------------------------------------------------------------- questions


def _create_counts(connection: duckdb.DuckDBPyConnection) -> None:
    by = "account, sip_calling_format, country_code"
    query = (
        f"SELECT {by}, main.country_name(country_code) AS country_name, count(*) AS trunk_count, "
        "round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY account), 2) AS share_pct "
        f"FROM {DATASET}.{_TRUNKS} GROUP BY {by}"
    )
    _create_view(connection, report_schema.TRUNK_COUNTS, query)


def _create_state(connection: duckdb.DuckDBPyConnection, stored: Mapping[str, str]) -> None:
    derived = [f"{expression} AS {name}" for name, (_, expression) in _derived(stored).items()]
    # A field of the API may be called like the parameter.
    names = [f"versions.{quoted(name)}" for name in _ordered(schema.SIP_TRUNKS_HISTORY, stored)]
    moment = "moment::TIMESTAMPTZ"
    body = (
        f"SELECT {', '.join([*names, *derived])} FROM {DATASET}.{_HISTORY} AS versions "
        f"WHERE versions.valid_from <= {moment} AND (versions.valid_to > {moment} OR versions.valid_to IS NULL) "
        # Of the time before an account's first look that is kept, only the versions are known that outlived it.
        f"AND versions.account IN (SELECT observations.account FROM {DATASET}.{_OBSERVATIONS} AS observations "
        f"WHERE observations.snapshot_at <= {moment})"
    )
    _create_macro(connection, report_schema.TRUNKS_AS_OF, body)


# Every version that ended or began at a look, beside the one that it followed or that followed it.
_STEPS = f"""
    SELECT coalesce(before.account, after.account) AS account, coalesce(before.id, after.id) AS trunk_id,
        coalesce(before.valid_to, after.valid_from) AS observed_at, observations.previous_at AS before_at,
        observations.snapshot_at AS after_at, {{columns}}
    FROM (FROM {DATASET}.{_HISTORY} WHERE valid_to IS NOT NULL) AS before
    FULL JOIN (FROM {DATASET}.{_HISTORY}) AS after
        ON after.account = before.account AND after.id = before.id AND after.valid_from = before.valid_to
    JOIN observations ON observations.account = coalesce(before.account, after.account)
        AND observations.snapshot_at = coalesce(before.valid_to, after.valid_from) AND observations.snapshot_at > observations.first_at
"""

# The versions at two observations, of those trunks whose versions differ.
_DIFFERENCE = f"""
    SELECT coalesce(before.account, after.account) AS account, coalesce(before.id, after.id) AS trunk_id,
        coalesce(after.valid_from, gone.gone_at) AS observed_at, spans.begin_at AS before_at, spans.end_at AS after_at,
        {{columns}}
    FROM (
        SELECT versions.* FROM {DATASET}.{_HISTORY} AS versions JOIN spans ON spans.account = versions.account
        WHERE versions.valid_from <= spans.begin_at AND versions.valid_to > spans.begin_at
            AND versions.valid_to <= as_of::TIMESTAMPTZ
    ) AS before
    FULL JOIN (
        SELECT versions.* FROM {DATASET}.{_HISTORY} AS versions JOIN spans ON spans.account = versions.account
        WHERE versions.valid_from > spans.begin_at AND versions.valid_from <= as_of::TIMESTAMPTZ
            AND (versions.valid_to IS NULL OR versions.valid_to > as_of::TIMESTAMPTZ)
    ) AS after ON after.account = before.account AND after.id = before.id
    LEFT JOIN (
        SELECT account, id, max(valid_to) AS gone_at FROM {DATASET}.{_HISTORY}
        WHERE valid_to <= as_of::TIMESTAMPTZ GROUP BY account, id
    ) AS gone ON gone.account = before.account AND gone.id = before.id
    JOIN spans ON spans.account = coalesce(before.account, after.account)
"""

# For each account, the observations whose states are compared: the last one up to each moment, but not before the first.
_SPANS = """
    SELECT account, max(snapshot_at) AS end_at,
        coalesce(max(CASE WHEN snapshot_at <= since::TIMESTAMPTZ THEN snapshot_at END), min(snapshot_at)) AS begin_at
    FROM observations WHERE snapshot_at <= as_of::TIMESTAMPTZ GROUP BY account
"""


def _create_changes(connection: duckdb.DuckDBPyConnection, stored: Mapping[str, str]) -> None:
    """Create what `transforms.changes` says: every step as a view, the difference of two states as a macro."""
    _create_view(connection, report_schema.SIP_TRUNK_CHANGES, _changes(stored, {"pairs": _STEPS}))
    between = _changes(stored, {"spans": _SPANS, "pairs": _DIFFERENCE})
    _create_macro(connection, report_schema.CHANGES_BETWEEN, between)


def _changes(stored: Mapping[str, str], pairs: Mapping[str, str]) -> str:
    """Return the SQL for the changes of pairs of versions.

    A field that one of the two answers did not deliver for any trunk has not changed: that is drift.
    """
    fields = [n for n in stored if n not in schema.RESERVED_COLUMNS and not n.endswith(schema.VARIANT_SUFFIX)]
    columns = "before.row_version AS old_version, after.row_version AS new_version, " + ", ".join(
        f"[{', '.join(_as_text(side, field, stored) for field in fields)}] AS {name}"
        for side, name in (("before", "old_texts"), ("after", "new_texts"))
    )
    steps = ", ".join(f"{name} AS ({query.replace('{columns}', columns)})" for name, query in pairs.items())
    return f"""
        WITH observations AS ({OBSERVATIONS_QUERY}),
        fields (place, field, legs, is_declared) AS (VALUES {", ".join(_field_rows(fields))}),
        undelivered AS (
            SELECT observations.account, observations.snapshot_at, drift.column_name,
                max(CASE WHEN kind = 'new_column' THEN 1 ELSE 0 END) AS is_new,
                max(CASE WHEN kind = 'missing_column' AND row_count >= trunk_count THEN 1 ELSE 0 END) AS is_missing
            FROM {DATASET}.{_DRIFT} AS drift
            JOIN observations ON observations.account = drift.account AND observations.load_id = drift._dlt_load_id
            WHERE kind IN ('new_column', 'missing_column')
            GROUP BY observations.account, observations.snapshot_at, drift.column_name
        ),
        {steps},
        differences AS (
            SELECT account, trunk_id, CASE WHEN old_version IS NULL THEN 'added' ELSE 'removed' END AS change,
                NULL::VARCHAR AS field, NULL::VARCHAR AS old, NULL::VARCHAR AS new, NULL::VARCHAR AS legs,
                observed_at, before_at, after_at, 1 AS is_declared, 1 AS touched
            FROM pairs WHERE old_version IS NULL OR new_version IS NULL
            UNION ALL
            SELECT account, trunk_id, 'changed', field, old_texts[place], new_texts[place], legs,
                observed_at, before_at, after_at, is_declared,
                count(*) OVER (PARTITION BY account, trunk_id, observed_at)
            FROM pairs JOIN fields ON old_texts[place] IS DISTINCT FROM new_texts[place]
            WHERE old_version <> new_version
        )
        SELECT differences.account, trunk_id, change, field, old, new, legs,
            CASE WHEN field = 'updated_at' THEN {literal(report_schema.CREDENTIAL_NOTE)} END AS note, observed_at
        FROM differences
        LEFT JOIN undelivered AS earlier ON earlier.account = differences.account
            AND earlier.snapshot_at = before_at AND earlier.column_name = field
        LEFT JOIN undelivered AS later ON later.account = differences.account
            AND later.snapshot_at = after_at AND later.column_name = field
        WHERE (field IS NULL OR field <> 'updated_at' OR touched = 1)
            AND coalesce(earlier.is_missing, 0) = 0 AND coalesce(later.is_missing, 0) = 0
            AND (is_declared = 1 OR (earlier.is_new = 1 AND later.is_new = 1))
    """


def _field_rows(fields: Sequence[str]) -> list[str]:
    """Return for each field its place in the lists of texts, its name, and what the declaration says of it."""
    declared = {column.name: column for column in schema.API_COLUMNS}
    legs = {name: column.legs for name, column in declared.items() if column.legs}
    return [
        f"({place}, {literal(name)}, {literal(legs[name]) if name in legs else 'NULL'}, {int(name in declared)})"
        for place, name in enumerate(fields, 1)
    ]


def _as_text(side: str, field: str, stored: Mapping[str, str]) -> str:
    """Return the SQL for a value as text, one spelling for equal values; a misfit is the value that was sent."""
    value, column_type = f"{side}.{quoted(field)}", stored[field]
    text = f"{value}::VARCHAR"
    if field == "allowed_inbound_ips":
        text = f"""replace(to_json(list_sort({value}::VARCHAR[]))::VARCHAR, '","', '", "')"""
    elif column_type == "TIMESTAMP WITH TIME ZONE":
        text = f"strftime(make_timestamp(epoch_us({value})), '%Y-%m-%dT%H:%M:%S.%fZ')"
    variant = field + schema.VARIANT_SUFFIX
    return f"coalesce({side}.{quoted(variant)}, {text})" if variant in stored else text
