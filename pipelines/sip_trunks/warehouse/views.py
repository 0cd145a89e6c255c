"""The SQL interface: views and macros in schema `main`, and comments on all tables and columns.

    famulor.<table>                     the stored table
    main.<table>                        the same rows with ordered columns; trunks and versions with derived columns
    main.drift, sip_trunk_changes, …    views that are computed when they are queried
    main.trunks_as_of(moment), …        macros

Every load creates them again, so that they include columns that the API has added. Use only SQL that DuckDB 1.1
supports, because such old versions may read the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.warehouse import sql
from sip_trunks.warehouse.changes import difference_query, steps_query
from sip_trunks.warehouse.sql import DATASET, HISTORY, OBSERVATIONS, TRUNKS, comment_on, create_view, literal, quoted
from sip_trunks.warehouse.state import DRIFT_QUERY
from trunk_transforms import schema
from trunk_transforms.enrich import number_patterns as patterns
from trunk_transforms.enrich.addresses import HOST
from trunk_transforms.enrich.countries import COUNTRY_ALIASES, COUNTRY_NAMES
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER, host_pattern
from trunk_transforms.schema import reports as report_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    providers, stored = read_provider_catalog(), sql.read_tables(connection)
    history, has_observations = stored.get(_HISTORY), schema.SIP_TRUNK_SNAPSHOTS.name in stored
    with sql.transaction(connection):
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
                create_view(connection, report_schema.SIP_TRUNK_CHANGES, steps_query(history))
                between = difference_query(history, "since::TIMESTAMPTZ", "as_of::TIMESTAMPTZ")
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
    return {
        name: (report_schema.DERIVED[name].base, f"main.{macro.name}({report_schema.DERIVED[name].base})")
        for name, macro in report_schema.IN_VIEWS.items()
        if name not in stored
    }


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
    compact = f"regexp_replace({number}, {literal(patterns.SEPARATORS)}, '', 'g')"
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
        f"WHEN regexp_matches({host}, {literal(host_pattern(provider.every_host))}) THEN {literal(provider.name)}"
        for provider in providers.providers
        if provider.every_host
    ]
    return f"CASE {' '.join(cases)} ELSE {literal(UNKNOWN_PROVIDER)} END"


def _country_name(code: str) -> str:
    """Return the SQL of `country_name`, which equals `trunk_transforms.enrich.countries.country_name`."""
    names = COUNTRY_NAMES | {alias: COUNTRY_NAMES[meant] for alias, meant in COUNTRY_ALIASES.items()}
    codes, texts = (f"[{', '.join(map(literal, values))}]" for values in (names, names.values()))
    name = f"{texts}[list_position({codes}, {_spelled_country(code)})]"
    return f"CASE WHEN regexp_matches({code}, '^[[:ascii:]]*$') THEN {name} END"


def _unified_country(code: str) -> str:
    """Return the SQL of one code per country, which equals `trunk_transforms.enrich.countries.unify_countries`."""
    spelled = _spelled_country(code)
    aliases = " ".join(f"WHEN {literal(alias)} THEN {literal(meant)}" for alias, meant in COUNTRY_ALIASES.items())
    return (
        f"CASE WHEN main.country_name({code}) IS NULL THEN {code} ELSE CASE {spelled} {aliases} ELSE {spelled} END END"
    )


def _spelled_country(code: str) -> str:
    return f"upper(regexp_replace({code}, '^{_SPACES}+|{_SPACES}+$', '', 'g'))"


# ---------------------------------------------------------------------- queries

_COUNTS = f"""
    WITH trunks AS (
        SELECT account, sip_calling_format, {_unified_country("country_code")} AS country_code FROM {TRUNKS}
    )
    SELECT account, sip_calling_format, country_code, main.country_name(country_code) AS country_name,
        count(*) AS trunk_count,
        round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY account), 2) AS share_pct
    FROM trunks GROUP BY account, sip_calling_format, country_code
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
