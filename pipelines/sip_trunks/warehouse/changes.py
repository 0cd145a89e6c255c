"""The SQL of changes, for views, macros and reports: every step, or the difference between two moments.

Both compare pairs of versions of a trunk. If one of the two responses has a field for no trunk at all, the field is
drift and not a change. The columns are those of `CHANGES`.
"""

from collections.abc import Mapping

from sip_trunks.warehouse.columns import name_column
from sip_trunks.warehouse.sql import ASSIGNMENTS_HISTORY, DRIFT, HISTORY, literal, quoted
from sip_trunks.warehouse.state import OBSERVATIONS_QUERY
from trunk_transforms import schema
from trunk_transforms.schema.assignments import UNANSWERED_NOTE
from trunk_transforms.schema.reports import CREDENTIAL_NOTE

EVER = "TIMESTAMPTZ '-infinity'"
NOW = "TIMESTAMPTZ 'infinity'"


def steps_query(stored: Mapping[str, str], since: str = EVER, as_of: str = NOW, *, is_assigned: bool = False) -> str:
    """Return the SQL of every change that a snapshot after `since` and up to `as_of` showed.

    `stored` has the SQL types of the columns of the history; the moments are SQL. An account's first snapshot is not a
    change. A field that changed twice has two rows. With `is_assigned`, `has_inbound_assistant` is a field.
    """
    changes = _changes(stored, f"pairs AS ({_step_pairs(stored, since, as_of)})", is_touch="true")
    if not is_assigned:
        return changes
    return f"""{changes} UNION ALL {_ASSIGNMENT_CHANGES}
        FROM {ASSIGNMENTS_HISTORY} AS before JOIN {ASSIGNMENTS_HISTORY} AS after
            ON after.account = before.account AND after.trunk_id = before.trunk_id
            AND after.valid_from = before.valid_to
        WHERE after.valid_from > {since} AND after.valid_from <= {as_of}
            AND before.has_inbound_assistant <> after.has_inbound_assistant
    """


_ASSIGNMENT_CHANGES = f"""
    SELECT after.account, after.trunk_id, 'changed', 'has_inbound_assistant', before.has_inbound_assistant::VARCHAR,
        after.has_inbound_assistant::VARCHAR, NULL,
        CASE WHEN before.has_inbound_assistant THEN {literal(UNANSWERED_NOTE)} END, after.valid_from
"""


def credentials_query(stored: Mapping[str, str], since: str, as_of: str) -> str:
    """Return the SQL of the last sign of a new credential between `since` and `as_of`, as `changed_at`.

    Grain: one row per trunk at `as_of` of an account that was observed at `since` already; null is no sign. A trunk
    has a new credential if it was added, if its username changed, or if only updated_at changed.
    """
    return f"""
        WITH observations AS ({OBSERVATIONS_QUERY}),
        pairs AS ({_step_pairs(stored, since, as_of)}),
        signs AS (
            SELECT account, trunk_id, max(observed_at) AS changed_at FROM pairs
            WHERE old_version IS NULL OR (new_version IS NOT NULL AND (is_username_new OR is_only_updated))
            GROUP BY account, trunk_id
        )
        SELECT versions.account, versions.id AS trunk_id, signs.changed_at
        FROM {HISTORY} AS versions
        JOIN (FROM observations SELECT account GROUP BY account HAVING min(snapshot_at) <= {since}) AS known
            ON known.account = versions.account
        LEFT JOIN signs ON signs.account = versions.account AND signs.trunk_id = versions.id
        WHERE versions.valid_from <= {as_of} AND (versions.valid_to IS NULL OR versions.valid_to > {as_of})
    """


def _step_pairs(stored: Mapping[str, str], since: str, as_of: str) -> str:
    """Return the SQL of each version that ended or began at an observation, next to its neighbor at that time."""
    return f"""
        SELECT coalesce(before.account, after.account) AS account, coalesce(before.id, after.id) AS trunk_id,
            coalesce(before.valid_to, after.valid_from) AS observed_at, observations.previous_at AS before_at,
            observations.snapshot_at AS after_at, {_both_sides(stored)}
        FROM (FROM {HISTORY} WHERE valid_to > {since} AND valid_to <= {as_of}) AS before
        FULL JOIN (
            SELECT versions.* FROM {HISTORY} AS versions ANTI JOIN observations
                ON observations.account = versions.account AND observations.first_at = versions.valid_from
            WHERE versions.valid_from > {since} AND versions.valid_from <= {as_of}
        ) AS after
            ON after.account = before.account AND after.id = before.id AND after.valid_from = before.valid_to
        JOIN observations ON observations.account = coalesce(before.account, after.account)
            AND observations.snapshot_at = coalesce(before.valid_to, after.valid_from)
            AND observations.snapshot_at > observations.first_at
    """


def difference_query(stored: Mapping[str, str], since: str | None, as_of: str, *, is_assigned: bool = False) -> str:
    """Return the SQL of the differences between the trunks at `since` and at `as_of`.

    A field that changed and changed back is not listed. The moments are SQL, and stand for each account's last
    observation up to then, or for its first one. Without `since`, each account's last observation up to `as_of` is
    compared with the one before it. With `is_assigned`, `has_inbound_assistant` is a field.
    """
    # That only updated_at differs says nothing if other fields changed and changed back: some step must be one of
    # updated_at alone.
    is_touch = f"""
        (differences.account, trunk_id) IN (
            WITH moved AS MATERIALIZED (
                SELECT versions.* FROM {HISTORY} AS versions
                JOIN (FROM differences WHERE field = 'updated_at') AS found
                    ON found.account = versions.account AND found.trunk_id = versions.id
                WHERE versions.valid_from <= found.after_at
                    AND (versions.valid_to > found.before_at OR versions.valid_to IS NULL)
            )
            SELECT before.account, before.id FROM moved AS before JOIN moved AS after
                ON after.account = before.account AND after.id = before.id AND after.valid_from = before.valid_to
            WHERE {_are_others_same(stored)}
        )
    """
    differences = _changes(stored, _difference_pairs(stored, since, as_of), is_touch)
    if is_assigned:
        differences = f"""{differences} UNION ALL {_ASSIGNMENT_CHANGES}
            FROM spans JOIN {ASSIGNMENTS_HISTORY} AS before ON before.account = spans.account
                AND before.valid_from <= spans.begin_at AND before.valid_to > spans.begin_at
            JOIN {ASSIGNMENTS_HISTORY} AS after ON after.account = before.account AND after.trunk_id = before.trunk_id
                AND after.valid_from <= {as_of} AND (after.valid_to IS NULL OR after.valid_to > {as_of})
            WHERE before.has_inbound_assistant <> after.has_inbound_assistant
        """
    if since is None:
        return differences
    # The version at `as_of` may have begun after the change that it shows.
    return f"""
        SELECT differences.* REPLACE (coalesce(steps.observed_at, differences.observed_at) AS observed_at)
        FROM ({differences}) AS differences LEFT JOIN (
            SELECT account, trunk_id, change, field, max(observed_at) AS observed_at
            FROM ({steps_query(stored, since, as_of, is_assigned=is_assigned)})
            GROUP BY account, trunk_id, change, field
        ) AS steps ON steps.account = differences.account AND steps.trunk_id = differences.trunk_id
            AND steps.change = differences.change AND steps.field IS NOT DISTINCT FROM differences.field
    """


def _difference_pairs(stored: Mapping[str, str], since: str | None, as_of: str) -> str:
    last_before = f"coalesce(max(CASE WHEN snapshot_at <= {since} THEN snapshot_at END), min(snapshot_at))"
    spans = f"""
        SELECT account, max(snapshot_at) AS end_at, {last_before if since else "max(previous_at)"} AS begin_at
        FROM observations WHERE snapshot_at <= {as_of} GROUP BY account
    """
    # For each trunk whose versions differ between two observations, both versions.
    pairs = f"""
        SELECT coalesce(before.account, after.account) AS account, coalesce(before.id, after.id) AS trunk_id,
            coalesce(after.valid_from, gone.gone_at) AS observed_at, spans.begin_at AS before_at,
            spans.end_at AS after_at, {_both_sides(stored)}
        FROM (
            SELECT versions.* FROM {HISTORY} AS versions JOIN spans ON spans.account = versions.account
            WHERE versions.valid_from <= spans.begin_at AND versions.valid_to > spans.begin_at
                AND versions.valid_to <= {as_of}
        ) AS before
        FULL JOIN (
            SELECT versions.* FROM {HISTORY} AS versions JOIN spans ON spans.account = versions.account
            WHERE versions.valid_from > spans.begin_at AND versions.valid_from <= {as_of}
                AND (versions.valid_to IS NULL OR versions.valid_to > {as_of})
        ) AS after ON after.account = before.account AND after.id = before.id
        LEFT JOIN (
            SELECT account, id, max(valid_to) AS gone_at FROM {HISTORY} WHERE valid_to <= {as_of} GROUP BY account, id
        ) AS gone ON gone.account = before.account AND gone.id = before.id
        JOIN spans ON spans.account = coalesce(before.account, after.account)
    """
    return f"spans AS ({spans}), pairs AS ({pairs})"


def changed_trunks_query(stored: Mapping[str, str], since: str | None, as_of: str, *, is_log: bool) -> str:
    """Return the SQL of the trunks with another version than before: by any step, or at `as_of` than at `since`.

    Grain: one row per (account, trunk_id). Unlike the changes, it has trunks of which only drift changed: a field that
    the API began or stopped to send.
    """
    steps = f"pairs AS ({_step_pairs(stored, since or EVER, as_of)})"
    return f"""
        WITH observations AS ({OBSERVATIONS_QUERY}), {steps if is_log else _difference_pairs(stored, since, as_of)}
        SELECT DISTINCT account, trunk_id FROM pairs WHERE old_version <> new_version
    """


def _changes(stored: Mapping[str, str], pairs: str, is_touch: str) -> str:
    """Return the SQL of the changes in pairs of versions, which the common table expressions `pairs` select.

    `is_touch` is the condition on which a difference of `updated_at` alone is one.
    """
    return f"""
        WITH observations AS ({OBSERVATIONS_QUERY}),
        fields (position, field, name, legs, is_declared) AS (VALUES {", ".join(_field_rows(stored))}),
        undelivered AS (
            SELECT observations.account, observations.snapshot_at, drift.column_name,
                max(CASE WHEN kind = 'new_column' THEN 1 ELSE 0 END) AS is_new,
                max(CASE WHEN kind = 'missing_column' AND row_count >= trunk_count THEN 1 ELSE 0 END) AS is_missing
            FROM {DRIFT} AS drift
            JOIN observations ON observations.account = drift.account AND observations.load_id = drift._dlt_load_id
            WHERE kind IN ('new_column', 'missing_column')
            GROUP BY observations.account, observations.snapshot_at, drift.column_name
        ),
        {pairs},
        differences AS MATERIALIZED (
            SELECT account, trunk_id, CASE WHEN old_version IS NULL THEN 'added' ELSE 'removed' END AS change,
                NULL::VARCHAR AS field, NULL::VARCHAR AS name, NULL::VARCHAR AS old, NULL::VARCHAR AS new,
                NULL::VARCHAR AS legs, observed_at, before_at, after_at, 1 AS is_declared
            FROM pairs WHERE old_version IS NULL OR new_version IS NULL
            UNION ALL
            SELECT account, trunk_id, 'changed', field, name, old_texts[position], new_texts[position], legs,
                observed_at, before_at, after_at, is_declared
            FROM pairs JOIN fields ON old_texts[position] IS DISTINCT FROM new_texts[position]
            WHERE old_version <> new_version AND (field <> 'updated_at' OR is_only_updated)
        )
        SELECT differences.account, trunk_id, change, name AS field, old, new, legs,
            CASE WHEN field = 'updated_at' THEN {literal(CREDENTIAL_NOTE)} END AS note, observed_at
        FROM differences
        LEFT JOIN undelivered AS earlier ON earlier.account = differences.account
            AND earlier.snapshot_at = before_at AND earlier.column_name = field
        LEFT JOIN undelivered AS later ON later.account = differences.account
            AND later.snapshot_at = after_at AND later.column_name = field
        WHERE (field IS NULL OR field <> 'updated_at' OR {is_touch})
            AND coalesce(earlier.is_missing, 0) = 0 AND coalesce(later.is_missing, 0) = 0
            AND (is_declared = 1 OR (earlier.is_new = 1 AND later.is_new = 1))
    """


def _fields(stored: Mapping[str, str]) -> list[str]:
    return [n for n in stored if n not in schema.RESERVED_COLUMNS and not n.endswith(schema.VARIANT_SUFFIX)]


def _field_rows(stored: Mapping[str, str]) -> list[str]:
    """Return one SQL row per field: position in the lists of texts, column, name, legs, and whether it is declared."""
    legs = {column.name: column.legs or None for column in schema.API_COLUMNS}
    names = {field: name_column(schema.SIP_TRUNKS_HISTORY, field) for field in _fields(stored)}
    return [
        f"({position}, {literal(field)}, {literal(name)}, {literal(legs.get(field))}, {int(field in legs)})"
        for position, (field, name) in enumerate(names.items(), 1)
    ]


def _both_sides(stored: Mapping[str, str]) -> str:
    """Return the SQL of the columns of a pair: row versions, all values as lists of texts, and signs of a credential.

    `is_only_updated` is a possible credential change: no field but updated_at changed.
    """
    texts = ", ".join(
        f"[{', '.join(_as_text(side, field, stored) for field in _fields(stored))}] AS {name}"
        for side, name in (("before", "old_texts"), ("after", "new_texts"))
    )
    return (
        f"before.row_version AS old_version, after.row_version AS new_version, {texts}, "
        f"NOT ({_is_same('sip_username', stored)}) AS is_username_new, "
        f"{_are_others_same(stored)} AND NOT ({_is_same('updated_at', stored)}) AS is_only_updated"
    )


def _are_others_same(stored: Mapping[str, str]) -> str:
    """Return the SQL of whether all values but that of `updated_at` are the same on both sides."""
    return " AND ".join(_is_same(field, stored) for field in _fields(stored) if field != "updated_at")


def _is_same(field: str, stored: Mapping[str, str]) -> str:
    """Return the SQL of whether a value is the same on both sides; texts are compared only if the values differ."""
    names = [name for name in (field, field + schema.VARIANT_SUFFIX) if name in stored]
    equal = " AND ".join(f"before.{quoted(n)} IS NOT DISTINCT FROM after.{quoted(n)}" for n in names)
    before, after = (_as_text(side, field, stored) for side in ("before", "after"))
    return f"CASE WHEN {equal} THEN true ELSE {before} IS NOT DISTINCT FROM {after} END"


def _as_text(side: str, field: str, stored: Mapping[str, str]) -> str:
    """Return the SQL of a value as text. Equal values have equal texts; a value of the wrong type is as sent."""
    value, column_type = f"{side}.{quoted(field)}", stored[field]
    text = f"{value}::VARCHAR"
    if field == "allowed_inbound_ips":
        entries = f"to_json(list_sort({value}::VARCHAR[], 'ASC', 'NULLS FIRST'))::VARCHAR"
        text = f"""replace(replace({entries}, '","', '", "'), 'null,', 'null, ')"""
    elif column_type == "TIMESTAMP WITH TIME ZONE":
        text = f"strftime(make_timestamp(epoch_us({value})), '%Y-%m-%dT%H:%M:%S.%fZ')"
    variant = field + schema.VARIANT_SUFFIX
    return f"coalesce({side}.{quoted(variant)}, {text})" if variant in stored else text
