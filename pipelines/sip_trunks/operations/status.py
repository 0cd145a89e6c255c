"""The status: the stored accounts and the end of the last run, without reading trunks."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import duckdb

from sip_trunks.core.config_files import home_of
from sip_trunks.core.errors import SipTrunksError, name_some
from sip_trunks.core.files import find_leftovers, read_json
from sip_trunks.core.lock import is_run_active
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination
from sip_trunks.operations.scheduling.installed import find_schedules
from sip_trunks.operations.unfinished import describe_unfinished, read_unfinished
from sip_trunks.reporting.formats import as_size, print_table
from sip_trunks.run.result import describe_failures, format_moment
from sip_trunks.run.size_log import read_growth
from sip_trunks.warehouse import findings, state
from trunk_transforms import schema
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.text import count_of

_MOST_NAMES = 5
_TABLES = [table.name for table in (schema.SIP_TRUNK_SNAPSHOTS, schema.SCHEMA_DRIFT, *schema.AUDIT_TABLES)]
_DRIFT_COLUMNS = ("column_name", "kind", "detail", "row_count", "first_seen_at")


def read_status(settings: Settings) -> dict[str, Any]:
    """Return the state of the data directory as plain values; times are in UTC, ages in seconds."""
    destination = open_destination(settings)
    size = destination.size_bytes()
    # If nothing is stored yet, a connection without tables.
    with destination.reading(_TABLES) if destination.exists() else duckdb.connect() as connection:
        stored = state.read_stored_accounts(connection)
        drift = state.read_drift(connection)
        counts = findings.count_severities(connection)
        free_bytes = state.read_free_bytes(connection) or None
    # After reading, because a run may publish meanwhile.
    now = datetime.now(UTC)
    names = dict.fromkeys([*stored, *(account.name for account in settings.accounts)])
    is_active = is_run_active(settings)
    return {
        "destination": destination.name,
        "warehouse": destination.location,
        "warehouse_bytes": size,
        "free_bytes": free_bytes,
        "growth": read_growth(settings, destination.location, size) if size is not None else None,
        "is_run_active": is_active,
        "is_work_pending": destination.is_work_pending() and not is_active,
        "leftovers": [
            str(draft.readlink() if draft.is_symlink() else draft)
            for folder in (settings.state_dir, settings.data_dir)
            for draft in find_leftovers(folder)
        ],
        "unfinished": [describe_unfinished(names) for names in read_unfinished(settings, destination)],
        "findings": None if counts is None else _describe_findings(counts),
        "accounts": [_describe_account(name, stored.get(name), drift, now) for name in names],
        "last_run": _read_last_run(settings),
        "schedules": _read_schedules(settings),
    }


def _describe_account(
    name: str, last: state.StoredAccount | None, drift: Iterable[state.SeenDrift], now: datetime
) -> dict[str, Any]:
    """Return the last snapshot of an account, with None for everything that is not stored, and its current drift."""
    entry: dict[str, Any] = {"account": name}
    for column, age in (("snapshot_at", "age_seconds"), ("assignments_at", "assignments_age_seconds")):
        moment = last and getattr(last, column)
        entry[column] = moment and format_moment(moment)
        entry[age] = moment and round((now - moment).total_seconds())
    entry |= {count: last and getattr(last, count) for count in ("trunk_count", "drift_count")}
    ours = [{name: getattr(seen, name) for name in _DRIFT_COLUMNS} for seen in drift if seen.account == name]
    return entry | {"drift": [seen | {"first_seen_at": format_moment(seen["first_seen_at"])} for seen in ours]}


def _read_schedules(settings: Settings) -> list[dict[str, str]]:
    """Return the installed schedules of runs with these settings; none if the scheduler cannot be asked."""
    with suppress(SipTrunksError, OSError):
        ours = [found for found in find_schedules(settings) if found.folder == str(home_of(settings.config_dir))]
        return [{name: getattr(found, name) for name in ("name", "scheduler", "next_at")} for found in ours]
    return []


def _describe_findings(counts: Iterable[tuple[str, int, int, datetime]]) -> list[dict[str, Any]]:
    """Return the open findings by severity, the worst first."""
    names = ("severity", "finding_count", "cause_count", "oldest_at")
    found = [dict(zip(names, (*counted, format_moment(opened_at)), strict=True)) for *counted, opened_at in counts]
    return sorted(found, key=lambda entry: SEVERITIES.index(entry["severity"]), reverse=True)


def find_stale(settings: Settings, accounts: Sequence[dict[str, Any]], max_age_seconds: float) -> list[dict[str, Any]]:
    """Return the accounts without an observation in the last `max_age_seconds`, the oldest first.

    Only configured accounts can become stale or, if none is configured, all stored ones.

    An observation in the future does not count, because the clock was ahead: its age is unknown.
    """
    # Runs do not load accounts that are no longer configured, so their data is expected to be old.
    watched = {account.name for account in settings.accounts} or {entry["account"] for entry in accounts}
    ages = [(entry, entry["age_seconds"]) for entry in accounts if entry["account"] in watched]
    stale = [entry for entry, age in ages if age is None or not 0 <= age <= max_age_seconds]
    return sorted(stale, key=lambda entry: entry["snapshot_at"] or "")


def describe_stale(stale: Sequence[dict[str, Any]], max_age: str) -> str:
    """Return one line on the stale accounts; an empty sequence means that there are no observations at all."""
    if not stale:
        return "no account has been observed, and none is configured: sip-trunks run"
    named = name_some([f"{entry['account']} ({_as_age(entry['age_seconds'])})" for entry in stale], _MOST_NAMES)
    count = "1 account was" if len(stale) == 1 else f"{len(stale)} accounts were"
    return f"{count} not seen for {max_age}: {named}"


def _read_last_run(settings: Settings) -> dict[str, Any] | None:
    noted = read_json(settings.last_run_path, dict[str, Any])
    if noted is None:
        return None
    failed = [entry for entry in noted.get("accounts", ()) if entry.get("error")]
    errors = describe_failures((entry["account"], entry["error"]) for entry in failed)
    if noted.get("report_error"):
        errors.append(f"no reports: {noted['report_error']}")
    values = {name: noted.get(name) for name in ("started_at", "destination", "exit_code")}
    return values | {"error": noted.get("error") or "; ".join(errors) or None}


def print_status(status: dict[str, Any]) -> None:
    """Print the status as text."""
    size = status["warehouse_bytes"]
    is_empty = not any(account["snapshot_at"] for account in status["accounts"])
    note = " (nothing stored yet)" if is_empty else f" ({_describe_size(status)})" if size else ""
    print(f"warehouse  {status['warehouse']}{note}")
    last = status["last_run"]
    if status["is_run_active"]:
        print("run        active now")
    if status["is_work_pending"]:
        print("pending    a run was interrupted; the next one starts from the published data")
    for draft in status["leftovers"]:
        print(f"pending    {draft} was left by a killed export; the next run deletes it")
    for command in status["unfinished"]:
        print(f"pending    {command} was killed; run it again")
    if last and not status["is_run_active"]:
        exit_code, error = last["exit_code"], last["error"]
        how = {0: "succeeded", None: error}.get(exit_code, f"exit code {exit_code}: {error}")
        elsewhere = f" into {last['destination']}" if last["destination"] not in (None, status["destination"]) else ""
        print(f"last run   {last['started_at']}{_as_past(last['started_at'])}{elsewhere}, {how}")
    for schedule in status["schedules"]:
        print(f"schedule   {schedule['name']}, by {schedule['scheduler']}; next run {schedule['next_at']}")
    if not status["schedules"]:
        print("schedule   none on this machine: sip-trunks schedule install --every 1h")
    _print_findings(status["findings"] or ())
    if not status["accounts"]:
        print("accounts   none yet: sip-trunks run, or sip-trunks run --demo")
        return
    print()
    ages = {"age": "age_seconds", "assignments": "assignments_age_seconds"}
    rows = [a | {name: _as_age(a[seconds], " ago") for name, seconds in ages.items()} for a in status["accounts"]]
    columns = ["account", "snapshot_at", "age", "trunk_count", "drift_count"]
    columns += ["assignments"] * any(row["assignments_at"] for row in rows)
    print_table(columns, [[row[column] for column in columns] for row in rows])
    drifting = [[a["account"], *list(seen.values())] for a in status["accounts"] for seen in a["drift"]]
    if drifting:
        print("\nstill drifting")
        print_table(["account", *_DRIFT_COLUMNS], drifting)


def _print_findings(findings: Sequence[dict[str, Any]]) -> None:
    for place, found in enumerate(findings):
        causes = count_of(found["cause_count"], "cause")
        text = f"{found['finding_count']} {found['severity']} of {causes}, since {found['oldest_at'][:10]}"
        print(f"{'' if place else 'findings':<9}  {text}")


def _describe_size(status: dict[str, Any]) -> str:
    text, free, growth = as_size(status["warehouse_bytes"]), status["free_bytes"], status["growth"]
    if free:
        text += f", {as_size(free)} of it free"
    if growth and growth["bytes"]:
        text += f"; {as_size(abs(growth['bytes']))} {'more' if growth['bytes'] > 0 else 'less'} than {growth['since']}"
    return text


def _as_past(moment: str) -> str:
    """Return how long ago a moment was, in brackets; an empty text if a damaged file has none."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (TypeError, ValueError):
        return ""
    return f" ({_as_age(round(seconds), ' ago')})"


def _as_age(seconds: int | None, ago: str = "") -> str:
    if seconds is None:
        return "never seen"
    if seconds < 0:
        return f"seen {_as_age(-seconds)} in the future: the clock was ahead"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}{ago}"
    return f"{seconds} s{ago}"
