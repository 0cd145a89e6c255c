"""The views of the past: lifetimes of trunks, daily counts, and entries of allowlists.

They read stored tables of any size in one pass, so they compute what is costly, such as the provider of an address,
once per distinct value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.warehouse.sql import HISTORY, OBSERVATIONS, create_view
from trunk_transforms.schema import reports as report_schema

if TYPE_CHECKING:
    import duckdb


def create_past_views(connection: duckdb.DuckDBPyConnection, unified_country: str) -> None:
    """Create the views; `unified_country` is the SQL of one code per country from `country_code`."""
    create_view(connection, report_schema.SIP_TRUNK_ALLOWED_IPS_HISTORY, _ALLOWED_IPS)
    create_view(connection, report_schema.TRUNK_LIFETIMES, _LIFETIMES)
    create_view(connection, report_schema.TRUNK_COUNTS_DAILY, _daily_counts(unified_country))


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


def _daily_counts(unified_country: str) -> str:
    def day(moment: str) -> str:
        return f"make_timestamp(epoch_us({moment}))::DATE"

    by = "account, sip_calling_format, country_code, provider"
    # A version adds a trunk on its first day and takes it away on the day after its last; the days between follow.
    return f"""
        WITH firsts AS (SELECT account, min(snapshot_at) AS first_at FROM {OBSERVATIONS} GROUP BY account),
        versions AS (
            SELECT versions.account, sip_calling_format, country_code, sip_address,
                {day("greatest(versions.valid_from, firsts.first_at)")} AS first_day,
                {day("versions.valid_to")} AS last_day
            FROM {HISTORY} AS versions JOIN firsts ON firsts.account = versions.account
            WHERE versions.valid_to IS NULL OR versions.valid_to > firsts.first_at
        ), steps AS (
            SELECT account, sip_calling_format, country_code, sip_address, day, sum(step) AS step FROM (
                SELECT *, first_day AS day, 1 AS step FROM versions
                UNION ALL SELECT *, last_day, -1 FROM versions WHERE last_day IS NOT NULL
            ) GROUP BY ALL
        ), named AS (
            SELECT account, sip_calling_format, {unified_country} AS country_code,
                main.provider_of(sip_address) AS provider, day, step
            FROM steps WHERE step <> 0
        ), sums AS (
            SELECT {by}, day, sum(sum(step)) OVER (PARTITION BY {by} ORDER BY day) AS trunk_count,
                coalesce(lead(day) OVER (PARTITION BY {by} ORDER BY day), {day("now()")} + 1) AS next_day
            FROM named GROUP BY {by}, day
        )
        SELECT unnest(range(day::TIMESTAMP, next_day::TIMESTAMP, INTERVAL 1 DAY))::DATE AS day, account,
            sip_calling_format, country_code, main.country_name(country_code) AS country_name, provider,
            trunk_count::BIGINT AS trunk_count
        FROM sums WHERE trunk_count > 0
    """
