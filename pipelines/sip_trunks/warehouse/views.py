"""The SQL interface: views and macros in schema `main`, and comments on all tables and columns.

    famulor.<table>                     the stored table
    main.<table>                        the same rows with ordered columns; trunks and versions with derived columns
    main.drift, sip_trunk_changes, …    views that are computed when they are queried
    main.trunks_as_of(moment), …        macros

Every load creates them again, so that they include columns that the API has added. Use only SQL that DuckDB 0.10
supports, because such old versions may read the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.warehouse.sql import (
    DATASET,
    DRIFT,
    HISTORY,
    OBSERVATIONS,
    TRUNKS,
    comment_on,
    create_view,
    literal,
    quoted,
    read_tables,
    transaction,
)
from sip_trunks.warehouse.state import DRIFT_QUERY, OBSERVATIONS_QUERY
from trunk_transforms import schema
from trunk_transforms.enrich import number_patterns as patterns
from trunk_transforms.enrich.addresses import HOST
from trunk_transforms.enrich.countries import COUNTRY_ALIASES, COUNTRY_NAMES
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER, host_pattern
from trunk_transforms.schema import reports as report_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import duckdb

    from trunk_transforms.enrich.providers import Providers

_TRUNKS, _HISTORY = schema.SIP_TRUNKS.name, schema.SIP_TRUNKS_HISTORY.name
_SPACES = r"[\s\p{Z}]"


def create_views(
    connection: duckdb.DuckDBPyConnection, read_provider_catalog: Callable[[], Providers], kind: str = "TABLE"
) -> None:
    """Create all views, macros and comments on the stored tables, which are of this kind: TABLE or VIEW.

    Raises ConfigError if the provider catalog is not valid.
    """
    providers, stored = read_provider_catalog(), read_tables(connection)
    history, has_observations = stored.get(_HISTORY), schema.SIP_TRUNK_SNAPSHOTS.name in stored
    with transaction(connection):
        _create_macro(connection, report_schema.NUMBER_KIND, _number_kind("phone_number::VARCHAR"))
        _create_macro(connection, report_schema.PROVIDER_OF, _provider_of("sip_address::VARCHAR", providers))
        _create_macro(connection, report_schema.COUNTRY_NAME, _country_name("country_code::VARCHAR"))
        for table in schema.EVERY_TABLE:
            if table.name in stored:
                _create_view_of(connection, table, stored[table.name], kind)
        if _TRUNKS in stored:
            create_view(connection, report_schema.TRUNK_COUNTS, _COUNTS)
        if history and has_observations:
            _create_macro(connection, report_schema.TRUNKS_AS_OF, _trunks_as_of(history))
        if has_observations and schema.SCHEMA_DRIFT.name in stored:
            create_view(connection, schema.DRIFT, DRIFT_QUERY)
            if history:
                create_view(connection, report_schema.SIP_TRUNK_CHANGES, _changes(history, {"pairs": _STEPS}))
                between = _changes(history, {"spans": _SPANS, "pairs": _DIFFERENCE})
                _create_macro(connection, report_schema.CHANGES_BETWEEN, between)
        for name, (meaning, meanings) in schema.DLT_TABLES.items():
            if name in stored:
                comments = {column: meanings.get(column, "") for column in stored[name]}
                comment_on(connection, kind, f"{DATASET}.{name}", meaning, comments)


def _create_macro(connection: duckdb.DuckDBPyConnection, macro: report_schema.Macro, body: str) -> None:
    connection.execute(f"CREATE OR REPLACE MACRO main.{macro.signature} AS {'TABLE ' if macro.table else ''}{body}")
    kind = "MACRO TABLE" if macro.table else "MACRO"
    connection.execute(f"COMMENT ON {kind} main.{macro.name} IS {literal(macro.meaning)}")


# ---------------------------------------------------------------------- stored tables with derived columns


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
    """Return the columns in their declared order. Undeclared columns of the API follow `updated_at`."""
    order = {name: position for position, name in enumerate(table.names)}
    last = order.get("updated_at", len(order))
    return sorted(stored, key=lambda name: order.get(name, last + 0.5))


def _derived(stored: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the base column and the SQL of each derived column, by name.

    If the API sends a field with the name of a derived column, the field is kept and the column is not derived.
    """
    macros = {
        "number_kind": report_schema.NUMBER_KIND,
        "provider": report_schema.PROVIDER_OF,
        "country_name": report_schema.COUNTRY_NAME,
    }
    bases = {name: report_schema.DERIVED[name].base for name in report_schema.IN_VIEWS if name not in stored}
    return {name: (base, f"main.{macros[name].name}({base})") for name, base in bases.items()}


def describe_column(table: schema.Table, name: str) -> str:
    """Return the meaning of a column, declared or not."""
    if name in table.meanings:
        return table.meanings[name]
    if name.endswith(schema.VARIANT_SUFFIX):
        return f"Values of {name.removesuffix(schema.VARIANT_SUFFIX)} that did not fit its type, as text."
    return "An undeclared field of the API."


# ---------------------------------------------------------------------- functions of a value


def _number_kind(number: str) -> str:
    """Return the SQL of `number_kind`, which equals `trunk_transforms.enrich.numbers.derive_numbers`."""
    national = f"regexp_replace({number}, {literal(patterns.OPTIONAL_ZERO)}, '\\1')"
    compact = f"regexp_replace({national}, {literal(patterns.SEPARATORS)}, '', 'g')"
    return (
        f"CASE WHEN regexp_matches({number}, {literal(patterns.PSEUDONYM)}) THEN split_part({number}, ':', 2) "
        f"WHEN regexp_matches({compact}, {literal(patterns.DID)}) THEN 'DID' "
        f"WHEN regexp_matches({compact}, {literal(patterns.SHORT_EXTENSION)}) THEN 'extension' "
        f"WHEN NOT regexp_matches({compact}, {literal(patterns.DIGITS)}) "
        f"AND regexp_matches({number}, {literal(patterns.NAMED_EXTENSION)}) THEN 'extension' ELSE 'unknown' END"
    )


def _provider_of(address: str, providers: Providers) -> str:
    """Return the SQL of `provider_of`, which equals `trunk_transforms.enrich.providers.derive_provider`."""
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
    """Return the SQL of `country_name`, which equals `trunk_transforms.enrich.countries.country_name`."""
    names = COUNTRY_NAMES | {alias: COUNTRY_NAMES[meant] for alias, meant in COUNTRY_ALIASES.items()}
    canonical = f"upper(regexp_replace({code}, '^{_SPACES}+|{_SPACES}+$', '', 'g'))"
    codes, texts = (f"[{', '.join(map(literal, values))}]" for values in (names, names.values()))
    return f"CASE WHEN regexp_matches({code}, '^[[:ascii:]]*$') THEN {texts}[list_position({codes}, {canonical})] END"


# ---------------------------------------------------------------------- queries

_COUNTS = f"""
    SELECT account, sip_calling_format, country_code, main.country_name(country_code) AS country_name,
        count(*) AS trunk_count,
        round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY account), 2) AS share_pct
    FROM {TRUNKS} GROUP BY account, sip_calling_format, country_code
"""


def _trunks_as_of(stored: Mapping[str, str]) -> str:
    derived = [f"{expression} AS {name}" for name, (_, expression) in _derived(stored).items()]
    # Qualified names, because the API may send a field called like the parameter, `moment`.
    names = [f"versions.{quoted(name)}" for name in _ordered(schema.SIP_TRUNKS_HISTORY, stored)]
    moment = "moment::TIMESTAMPTZ"
    return (
        f"SELECT {', '.join([*names, *derived])} FROM {HISTORY} AS versions "
        f"WHERE versions.valid_from <= {moment} AND (versions.valid_to > {moment} OR versions.valid_to IS NULL) "
        # Before an account's first kept observation, only the versions that lasted until then are still stored.
        f"AND versions.account IN (SELECT observations.account FROM {OBSERVATIONS} AS observations "
        f"WHERE observations.snapshot_at <= {moment})"
    )


# Each version that ended or began at an observation, next to the version that follows or precedes it.
_STEPS = f"""
    SELECT coalesce(before.account, after.account) AS account, coalesce(before.id, after.id) AS trunk_id,
        coalesce(before.valid_to, after.valid_from) AS observed_at, observations.previous_at AS before_at,
        observations.snapshot_at AS after_at, {{columns}}
    FROM (FROM {HISTORY} WHERE valid_to IS NOT NULL) AS before
    FULL JOIN (FROM {HISTORY}) AS after
        ON after.account = before.account AND after.id = before.id AND after.valid_from = before.valid_to
    JOIN observations ON observations.account = coalesce(before.account, after.account)
        AND observations.snapshot_at = coalesce(before.valid_to, after.valid_from)
        AND observations.snapshot_at > observations.first_at
"""

# For each trunk whose versions differ between two observations, both versions.
_DIFFERENCE = f"""
    SELECT coalesce(before.account, after.account) AS account, coalesce(before.id, after.id) AS trunk_id,
        coalesce(after.valid_from, gone.gone_at) AS observed_at, spans.begin_at AS before_at, spans.end_at AS after_at,
        {{columns}}
    FROM (
        SELECT versions.* FROM {HISTORY} AS versions JOIN spans ON spans.account = versions.account
        WHERE versions.valid_from <= spans.begin_at AND versions.valid_to > spans.begin_at
            AND versions.valid_to <= as_of::TIMESTAMPTZ
    ) AS before
    FULL JOIN (
        SELECT versions.* FROM {HISTORY} AS versions JOIN spans ON spans.account = versions.account
        WHERE versions.valid_from > spans.begin_at AND versions.valid_from <= as_of::TIMESTAMPTZ
            AND (versions.valid_to IS NULL OR versions.valid_to > as_of::TIMESTAMPTZ)
    ) AS after ON after.account = before.account AND after.id = before.id
    LEFT JOIN (
        SELECT account, id, max(valid_to) AS gone_at FROM {HISTORY}
        WHERE valid_to <= as_of::TIMESTAMPTZ GROUP BY account, id
    ) AS gone ON gone.account = before.account AND gone.id = before.id
    JOIN spans ON spans.account = coalesce(before.account, after.account)
"""

# For each account, the two observations to compare: the last one up to each moment, or else the first one.
_SPANS = """
    SELECT account, max(snapshot_at) AS end_at,
        coalesce(max(CASE WHEN snapshot_at <= since::TIMESTAMPTZ THEN snapshot_at END), min(snapshot_at)) AS begin_at
    FROM observations WHERE snapshot_at <= as_of::TIMESTAMPTZ GROUP BY account
"""


def _changes(stored: Mapping[str, str], pairs: Mapping[str, str]) -> str:
    """Return the SQL of the changes in pairs of versions, which equals `trunk_transforms.history.changes`.

    If one of the two responses has a field for no trunk at all, the field is drift and not a change.
    """
    fields = [n for n in stored if n not in schema.RESERVED_COLUMNS and not n.endswith(schema.VARIANT_SUFFIX)]
    columns = "before.row_version AS old_version, after.row_version AS new_version, " + ", ".join(
        f"[{', '.join(_as_text(side, field, stored) for field in fields)}] AS {name}"
        for side, name in (("before", "old_texts"), ("after", "new_texts"))
    )
    steps = ", ".join(f"{name} AS ({query.replace('{columns}', columns)})" for name, query in pairs.items())
    return f"""
        WITH observations AS ({OBSERVATIONS_QUERY}),
        fields (position, field, legs, is_declared) AS (VALUES {", ".join(_field_rows(fields))}),
        undelivered AS (
            SELECT observations.account, observations.snapshot_at, drift.column_name,
                max(CASE WHEN kind = 'new_column' THEN 1 ELSE 0 END) AS is_new,
                max(CASE WHEN kind = 'missing_column' AND row_count >= trunk_count THEN 1 ELSE 0 END) AS is_missing
            FROM {DRIFT} AS drift
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
            SELECT account, trunk_id, 'changed', field, old_texts[position], new_texts[position], legs,
                observed_at, before_at, after_at, is_declared,
                count(*) OVER (PARTITION BY account, trunk_id, observed_at)
            FROM pairs JOIN fields ON old_texts[position] IS DISTINCT FROM new_texts[position]
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
    """Return one SQL row per field: its position in the lists of texts, name, legs, and whether it is declared."""
    legs = {column.name: column.legs or None for column in schema.API_COLUMNS}
    return [
        f"({position}, {literal(name)}, {literal(legs.get(name))}, {int(name in legs)})"
        for position, name in enumerate(fields, 1)
    ]


def _as_text(side: str, field: str, stored: Mapping[str, str]) -> str:
    """Return the SQL of a value as text. Equal values have equal texts; a value of the wrong type is as sent."""
    value, column_type = f"{side}.{quoted(field)}", stored[field]
    text = f"{value}::VARCHAR"
    if field == "allowed_inbound_ips":
        text = f"""replace(to_json(list_sort({value}::VARCHAR[]))::VARCHAR, '","', '", "')"""
    elif column_type == "TIMESTAMP WITH TIME ZONE":
        text = f"strftime(make_timestamp(epoch_us({value})), '%Y-%m-%dT%H:%M:%S.%fZ')"
    variant = field + schema.VARIANT_SUFFIX
    return f"coalesce({side}.{quoted(variant)}, {text})" if variant in stored else text
