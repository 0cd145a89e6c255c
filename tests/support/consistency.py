"""What must hold of a published file, whatever happened before."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Rows = list[tuple[Any, ...]]
    Ask = Callable[[str], Rows]


@contextmanager
def reading(path: Path) -> Iterator[Ask]:
    """Yield a function that returns the rows of a query on the published file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield lambda sql: connection.execute(sql).fetchall()


def read(path: Path, sql: str) -> Rows:
    """Return the rows of one query on the published file."""
    with reading(path) as ask:
        return ask(sql)


def closed_versions(path: Path) -> set[tuple[Any, ...]]:
    """Return the versions that are over: they must never change."""
    rows = read(path, "SELECT account, id, row_version, valid_from, valid_to FROM sip_trunks_history")
    return {row for row in rows if row[-1] is not None}


def assert_whole(path: Path, *snapshots: Sequence[dict[str, Any]]) -> int:
    """Assert that every table shows one and the same of these snapshots; return which."""
    with reading(path) as ask:
        return assert_answers_are_whole(ask, *snapshots)


def assert_answers_are_whole(ask: Ask, *snapshots: Sequence[dict[str, Any]], moments_are_observed: bool = True) -> int:
    """Assert the same of what a reader is answered, wherever the tables are kept.

    Where a run that died leaves versions behind, not every moment in the history is one of an observation.
    """
    current = ask("SELECT id, phone_number, country_code, allowed_inbound_ips FROM sip_trunks ORDER BY id")
    seen = [(*row, json.loads(allowed) if isinstance(allowed, str) else allowed) for *row, allowed in current]
    matching = [index for index, snapshot in enumerate(snapshots) if seen == _current(snapshot)]
    assert matching, f"no snapshot has {seen}"
    snapshot = snapshots[matching[0]]
    assert ask("SELECT trunk_id, position, ip FROM sip_trunk_allowed_ips ORDER BY ALL") == _entries(snapshot)
    latest = "SELECT trunk_count FROM sip_trunk_snapshots ORDER BY snapshot_at DESC LIMIT 1"
    assert ask(latest) == [(len(snapshot),)]
    # There are no reports if the run was to write none, or could not.
    if ask("FROM duckdb_columns() WHERE schema_name = 'reports' AND table_name = 'counts' LIMIT 1"):
        assert ask("SELECT sum(trunk_count) FROM reports.counts") == [(len(snapshot) or None,)]
    _assert_history_is_sound(ask, moments_are_observed=moments_are_observed)
    return matching[0]


def _current(snapshot: Sequence[dict[str, Any]]) -> Rows:
    rows = [(t["id"], t["phone_number"], t["country_code"], t["allowed_inbound_ips"]) for t in snapshot]
    return sorted(rows, key=lambda row: row[0])


def _entries(snapshot: Sequence[dict[str, Any]]) -> Rows:
    return sorted((t["id"], place, ip) for t in snapshot for place, ip in enumerate(t["allowed_inbound_ips"] or ()))


def assert_history_is_sound(path: Path) -> None:
    """Assert that the open versions are the current state, and that versions neither overlap nor repeat."""
    with reading(path) as ask:
        _assert_history_is_sound(ask)


def _assert_history_is_sound(ask: Ask, *, moments_are_observed: bool = True) -> None:
    current = ask("SELECT account, id, row_version FROM sip_trunks ORDER BY ALL")
    still_open = "SELECT account, id, row_version FROM sip_trunks_history WHERE valid_to IS NULL ORDER BY ALL"
    assert ask(still_open) == current
    overlapping = """
        SELECT account, id FROM (
            SELECT account, id, valid_from, valid_to, row_version,
                lead(valid_from) OVER versions AS next_from, lead(row_version) OVER versions AS next_version
            FROM sip_trunks_history WINDOW versions AS (PARTITION BY account, id ORDER BY valid_from)
        )
        WHERE valid_from >= coalesce(valid_to, TIMESTAMPTZ 'infinity')
            OR coalesce(valid_to, TIMESTAMPTZ 'infinity') > next_from
            OR (valid_to = next_from AND row_version = next_version)
    """
    assert ask(overlapping) == []
    moments = """
        SELECT valid_from AS moment FROM sip_trunks_history UNION SELECT valid_to FROM sip_trunks_history
        WHERE valid_to IS NOT NULL EXCEPT SELECT snapshot_at FROM sip_trunk_snapshots
    """
    assert not moments_are_observed or ask(moments) == []


def reads_back(value: Any, typed: Any, text: str | None) -> bool:
    """Whether a value that was sent is in its typed column, or as text beside it (docs/promises.md says how)."""
    if typed is None:
        return text == value if isinstance(value, str) else text is not None and _is_json_of(text, value)
    if isinstance(typed, datetime):
        return isinstance(value, str) and typed == datetime.fromisoformat(value)
    return bool(typed == value) or (isinstance(typed, str) and _is_json_of(typed, value))


def _is_json_of(text: str, value: Any) -> bool:
    try:
        return bool(json.loads(text) == value)
    except ValueError:
        return False
