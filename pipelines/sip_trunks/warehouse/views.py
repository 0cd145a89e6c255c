"""The SQL interface: views and macros in schema `main`, and comments on all tables and columns.

    famulor.<table>                     the stored table
    main.<table>                        the same rows with ordered columns; trunks and versions with derived columns
    main.drift, sip_trunk_changes, …    views that are computed when they are queried
    main.trunks_as_of(moment), …        macros

Every load creates them again, so that they include columns that the API has added. Use only SQL that DuckDB 1.1
supports, because such old versions may read the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sip_trunks.core.errors import UsageError
from sip_trunks.warehouse import sql
from sip_trunks.warehouse.changes import difference_query, steps_query
from sip_trunks.warehouse.columns import as_moment, has_derived, list_selected, name_column, select_view
from sip_trunks.warehouse.findings import create_findings
from sip_trunks.warehouse.sql import ASSIGNMENTS, DATASET, HISTORY, OBSERVATIONS, TRUNKS, literal, quoted
from sip_trunks.warehouse.state import DRIFT_QUERY
from trunk_transforms import schema
from trunk_transforms.enrich import number_patterns as patterns
from trunk_transforms.enrich.addresses import HOST
from trunk_transforms.enrich.countries import COUNTRY_ALIASES, COUNTRY_NAMES
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER, default_providers, host_pattern
from trunk_transforms.schema import reports as report_schema
from trunk_transforms.schema.assignments import ASSIGNED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import duckdb
    import pyarrow as pa

    from trunk_transforms.enrich.providers import Providers

_TRUNKS, _HISTORY = schema.SIP_TRUNKS.name, schema.SIP_TRUNKS_HISTORY.name
_TABLES = {table.name for table in schema.EVERY_TABLE}
_SPACES = r"[\s\p{Z}]"
_ASSIGNED = {
    "has_inbound_assistant": "assigned.has_inbound_assistant",
    "assistant_count": "json_array_length(assigned.assistants)::BIGINT",
}


def create_views(
    connection: duckdb.DuckDBPyConnection,
    read_provider_catalog: Callable[[], Providers] = default_providers,
    kind: Literal["TABLE", "VIEW"] = "TABLE",
    *,
    dataset: str = DATASET,
) -> None:
    """Create all views, macros and comments on the stored tables, which are of this kind: TABLE or VIEW.

    `dataset` is the schema with the tables. If it is not `famulor`, the schema `famulor` gets views on them. Call it
    after each load, so that the views have the columns that the API adds.

    Raises ConfigError if the provider catalog is not valid, and UsageError if the dataset has no table of trunks.
    """
    if dataset != DATASET:
        _show_dataset(connection, dataset)
        kind = "VIEW"
    providers, stored = read_provider_catalog(), sql.read_tables(connection)
    history, has_observations = stored.get(_HISTORY), schema.SIP_TRUNK_SNAPSHOTS.name in stored
    with sql.transaction(connection):
        _create_macro(connection, report_schema.NUMBER_KIND, _number_kind("phone_number::VARCHAR"))
        _create_macro(connection, report_schema.PROVIDER_OF, _provider_of("sip_address::VARCHAR", providers))
        _create_macro(connection, report_schema.COUNTRY_NAME, _country_name("country_code::VARCHAR"))
        for table in schema.EVERY_TABLE:
            if table.name in stored:
                _create_view_of(connection, table, stored, kind)
        if _TRUNKS in stored:
            sql.create_view(connection, report_schema.TRUNK_COUNTS, _COUNTS)
        if history and has_observations:
            _create_macro(connection, report_schema.TRUNKS_AS_OF, _trunks_as_of(history))
            sql.create_view(connection, report_schema.SIP_TRUNK_ALLOWED_IPS_HISTORY, _ALLOWED_IPS)
            sql.create_view(connection, report_schema.TRUNK_LIFETIMES, _LIFETIMES)
            sql.create_view(connection, report_schema.TRUNK_COUNTS_DAILY, _DAILY_COUNTS)
        if has_observations and schema.SCHEMA_DRIFT.name in stored:
            has_load_ids = "_dlt_load_id" in stored[schema.SIP_TRUNK_SNAPSHOTS.name]
            sql.create_view(connection, schema.DRIFT, _joining(DRIFT_QUERY, has_load_ids=has_load_ids))
            if history:
                is_assigned = schema.SIP_TRUNK_ASSIGNMENTS_HISTORY.name in stored
                steps = _joining(steps_query(history, is_assigned=is_assigned), has_load_ids=has_load_ids)
                sql.create_view(connection, report_schema.SIP_TRUNK_CHANGES, steps)
                moments = as_moment("since"), as_moment("as_of")
                between = difference_query(history, *moments, is_assigned=is_assigned)
                _create_macro(connection, report_schema.CHANGES_BETWEEN, _joining(between, has_load_ids=has_load_ids))
        create_findings(connection)
        for name, (meaning, meanings) in schema.DLT_TABLES.items():
            if name in stored:
                comments = {column: meanings.get(column, "") for column in stored[name]}
                sql.comment_on(connection, kind, f"{DATASET}.{name}", meaning, comments)


def _joining(query: str, *, has_load_ids: bool) -> str:
    """Return a query that joins observations and drift; other pipelines store the drift of every response, no ids."""
    if has_load_ids:
        return query
    names = {"_dlt_load_id AS load_id": "snapshot_at AS load_id", "drift._dlt_load_id": "drift.snapshot_at"}
    for name, other in names.items():
        query = query.replace(name, other)
    return query


def _show_dataset(connection: duckdb.DuckDBPyConnection, dataset: str) -> None:
    """Create the schema `famulor` with views on the tables of a dataset with another name."""
    tables = [name for name in sql.read_tables(connection, dataset) if name in _TABLES]
    if _TRUNKS not in tables:
        raise UsageError(f"the schema {dataset!r} has no table {_TRUNKS}; name the dataset of the pipeline: dataset=…")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {DATASET}")
    for name in tables:
        connection.execute(f"CREATE OR REPLACE VIEW {DATASET}.{name} AS FROM {quoted(dataset)}.{name}")


def write_audit(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
    """Create or replace the tables of an audit and their views, in a database that can be written."""
    for table in schema.AUDIT_TABLES:
        if table.name in tables:
            sql.write_table(connection, f"{DATASET}.{table.name}", tables[table.name])
            _create_view_of(connection, table, sql.read_tables(connection), "TABLE")
    create_findings(connection)


def _create_macro(connection: duckdb.DuckDBPyConnection, macro: report_schema.Macro, body: str) -> None:
    connection.execute(f"CREATE OR REPLACE MACRO main.{macro.signature} AS {'TABLE ' if macro.table else ''}{body}")
    kind = "MACRO TABLE" if macro.table else "MACRO"
    connection.execute(f"COMMENT ON {kind} main.{macro.name} IS {literal(macro.meaning)}")


# ---------------------------------------------------------------------- stored tables with derived columns


def _create_view_of(
    connection: duckdb.DuckDBPyConnection, table: schema.Table, stored: Mapping[str, Mapping[str, str]], kind: str
) -> None:
    """Create the view of a table, which is of this kind. `stored` has the columns of all stored tables."""
    columns, source = select_view(table, stored[table.name]), f"{DATASET}.{table.name} AS stored"
    if table is schema.SIP_TRUNKS and schema.SIP_TRUNK_ASSIGNMENTS.name in stored:
        own = {name: columns.pop(name) for name in ("row_version", "_dlt_load_id") if name in columns}
        columns |= _ASSIGNED | own
        same = "assigned.account = stored.account AND assigned.trunk_id = stored.id"
        source += f" LEFT JOIN {ASSIGNMENTS} AS assigned ON {same}"
    meanings = {name: describe_column(table, name) for name in columns}
    sql.create_view(connection, table, f"SELECT {list_selected(columns)} FROM {source}", meanings)
    meanings = {name: describe_column(table, name_column(table, name)) for name in stored[table.name]}
    sql.comment_on(connection, kind, f"{DATASET}.{table.name}", table.grain, meanings)


def describe_column(table: schema.Table, name: str) -> str:
    """Return the meaning of a column of a table or its view, declared or not."""
    if name in table.meanings:
        return table.meanings[name]
    if name in ASSIGNED and table is schema.SIP_TRUNKS:
        return ASSIGNED[name].explanation
    if name in report_schema.IN_VIEWS and has_derived(table):
        return report_schema.DERIVED[name].explanation
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


def _share(total: str, partition: str = "") -> str:
    """Return the SQL of a share in percent, which equals `trunk_transforms.reports.counts.derive_shares`."""
    scaled, order = "trunk_count * 10000", "trunk_count DESC, sip_calling_format, country_code, account"
    missing = f"(sum({scaled} % {total}) OVER ({partition}))::BIGINT // {total}"
    place = f"row_number() OVER ({partition} ORDER BY {scaled} % {total} DESC, {order})"
    return f"({scaled} // {total} + CASE WHEN {place} <= {missing} THEN 1 ELSE 0 END) / 100.0::DOUBLE"


_COUNTS = f"""
    WITH trunks AS (
        SELECT account, sip_calling_format, {_unified_country("country_code")} AS country_code FROM {TRUNKS}
    ), counts AS (
        SELECT *, (sum(trunk_count) OVER ())::BIGINT AS total,
            (sum(trunk_count) OVER (PARTITION BY account))::BIGINT AS account_total
        FROM (SELECT account, sip_calling_format, country_code, count(*) AS trunk_count FROM trunks GROUP BY ALL)
    )
    SELECT account, sip_calling_format, country_code, main.country_name(country_code) AS country_name, trunk_count,
        {_share("total")} AS share_pct, {_share("account_total", "PARTITION BY account")} AS account_share_pct
    FROM counts
"""


def _trunks_as_of(history: Mapping[str, str]) -> str:
    moment = as_moment("moment")
    return (
        f"SELECT {list_selected(select_view(schema.SIP_TRUNKS_HISTORY, history))} FROM {HISTORY} AS stored "
        f"WHERE stored.valid_from <= {moment} AND (stored.valid_to > {moment} OR stored.valid_to IS NULL) "
        # Before an account's first kept observation, only the versions that lasted until then are still stored.
        f"AND stored.account IN (SELECT observations.account FROM {OBSERVATIONS} AS observations "
        f"WHERE observations.snapshot_at <= {moment})"
    )


# ---------------------------------------------------------------------- the past
# These views read stored tables of any size in one pass, so they compute what is costly, such as the provider of an
# address, once per distinct value.


_ALLOWED_IPS = f"""
    WITH versions AS (
        SELECT account, id, list, valid_from, valid_to,
            CASE WHEN valid_from = lag(valid_to) OVER trunk AND list = lag(list) OVER trunk
                THEN 0 ELSE 1 END AS is_first
        FROM (SELECT account, id, allowed_inbound_ips AS list, valid_from, valid_to FROM {HISTORY})
        WHERE list IS NOT NULL
        WINDOW trunk AS (PARTITION BY account, id ORDER BY valid_from)
    ), runs AS (
        SELECT *, sum(is_first) OVER (PARTITION BY account, id ORDER BY valid_from ROWS UNBOUNDED PRECEDING) AS run
        FROM versions
    ), entries AS (
        -- Most versions have the list of the version before, so only distinct lists are split.
        SELECT account, id AS trunk_id, min(valid_from) AS valid_from,
            CASE WHEN count(valid_to) = count(*) THEN max(valid_to) END AS valid_to,
            unnest(TRY_CAST(any_value(list) AS VARCHAR[])) AS ip
        FROM runs GROUP BY account, id, run
    ), marked AS (
        SELECT *, CASE WHEN valid_from <= max(coalesce(valid_to, 'infinity')) OVER (
            PARTITION BY account, trunk_id, ip ORDER BY valid_from ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) THEN 0 ELSE 1 END AS is_first
        FROM entries
    ), numbered AS (
        SELECT *, sum(is_first) OVER (
            PARTITION BY account, trunk_id, ip ORDER BY valid_from ROWS UNBOUNDED PRECEDING
        ) AS period
        FROM marked
    )
    SELECT account, trunk_id, ip, min(valid_from) AS valid_from,
        CASE WHEN count(valid_to) = count(*) THEN max(valid_to) END AS valid_to
    FROM numbered GROUP BY account, trunk_id, ip, period
"""

_LIFETIMES = f"""
    WITH observations AS (
        SELECT account, snapshot_at, lag(snapshot_at) OVER (PARTITION BY account ORDER BY snapshot_at) AS previous_at
        FROM {OBSERVATIONS}
    ), versions AS (
        SELECT account, id, created_at, valid_from, valid_to, CASE WHEN valid_from = lag(valid_to) OVER (
            PARTITION BY account, id ORDER BY valid_from
        ) THEN 0 ELSE 1 END AS is_first
        FROM {HISTORY}
    ), trunks AS (
        SELECT account, id, arg_max(created_at, valid_from) FILTER (created_at IS NOT NULL) AS created_at,
            min(valid_from) AS first_at, max(valid_from) AS changed_at,
            CASE WHEN count(valid_to) = count(*) THEN max(valid_to) END AS removed_at,
            sum(is_first)::BIGINT AS spell_count, count(*) AS version_count
        FROM versions GROUP BY account, id
    )
    SELECT trunks.account, id AS trunk_id, created_at, trunks.first_at AS first_seen_at,
        CASE WHEN removed_at IS NULL THEN latest.latest_at ELSE coalesce(gone.previous_at, changed_at) END
            AS last_seen_at,
        removed_at, spell_count, version_count, version_count - spell_count AS change_count
    FROM trunks
    JOIN (SELECT account, max(snapshot_at) AS latest_at FROM {OBSERVATIONS} GROUP BY account) AS latest
        ON latest.account = trunks.account
    LEFT JOIN observations AS gone ON gone.account = trunks.account AND gone.snapshot_at = removed_at
"""


def _day(moment: str) -> str:
    return f"make_timestamp(epoch_us({moment}))::DATE"


_BY = "account, sip_calling_format, country_code, provider"
# A version adds a trunk on its first day and takes it away on the day after its last; the days between follow.
_DAILY_COUNTS = f"""
    WITH firsts AS (SELECT account, min(snapshot_at) AS first_at FROM {OBSERVATIONS} GROUP BY account),
    versions AS (
        SELECT versions.account, sip_calling_format, country_code, sip_address,
            {_day("greatest(versions.valid_from, firsts.first_at)")} AS first_day,
            {_day("versions.valid_to")} AS last_day
        FROM {HISTORY} AS versions JOIN firsts ON firsts.account = versions.account
        WHERE versions.valid_to IS NULL OR versions.valid_to > firsts.first_at
    ), steps AS (
        SELECT account, sip_calling_format, country_code, sip_address, day, sum(step) AS step FROM (
            SELECT *, first_day AS day, 1 AS step FROM versions
            UNION ALL SELECT *, last_day, -1 FROM versions WHERE last_day IS NOT NULL
        ) GROUP BY ALL
    ), named AS (
        SELECT account, sip_calling_format, {_unified_country("country_code")} AS country_code,
            main.provider_of(sip_address) AS provider, day, step
        FROM steps WHERE step <> 0
    ), sums AS (
        SELECT {_BY}, day, sum(sum(step)) OVER (PARTITION BY {_BY} ORDER BY day) AS trunk_count,
            coalesce(lead(day) OVER (PARTITION BY {_BY} ORDER BY day), {_day("now()")} + 1) AS next_day
        FROM named GROUP BY {_BY}, day
    )
    SELECT unnest(range(day::TIMESTAMP, next_day::TIMESTAMP, INTERVAL 1 DAY))::DATE AS day, account,
        sip_calling_format, country_code, main.country_name(country_code) AS country_name, provider,
        trunk_count::BIGINT AS trunk_count
    FROM sums WHERE trunk_count > 0
"""
