"""Stored data and settings → the inputs and the options of the reports."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import pandas as pd

from sip_trunks.core.errors import ConfigError
from sip_trunks.core.settings import Settings
from sip_trunks.destinations.base import ReadableDestination
from sip_trunks.warehouse import frames
from sip_trunks.warehouse.provider_catalog import read_provider_catalog
from trunk_transforms import schema
from trunk_transforms.audit.past import credentials_since, recent_since
from trunk_transforms.audit.suppressions import read_suppressions
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.registry import tables_needed, trunk_columns
from trunk_transforms.schema.reports import AUDIT_REPORTS, COUNT_REPORTS

_HISTORY = (schema.SIP_TRUNKS_HISTORY.name, schema.SIP_TRUNK_SNAPSHOTS.name)
_STORED = {
    "trunks": (schema.SIP_TRUNKS.name,),
    "lifetimes": _HISTORY,
    "assignments": (schema.SIP_TRUNKS_HISTORY.name, schema.SIP_TRUNK_ASSIGNMENTS_HISTORY.name),
    "changes": (*_HISTORY, schema.SIP_TRUNK_ASSIGNMENTS_HISTORY.name, schema.SCHEMA_DRIFT.name),
    "changed_trunks": _HISTORY,
    "observations": (schema.SIP_TRUNK_SNAPSHOTS.name,),
}
"""The stored tables of each frame of the inputs."""


def read_options(settings: Settings, **asked: Any) -> Options:
    """Return the options of the reports: those from the settings, then `asked`; `as_of` defaults to now (UTC).

    Raises ConfigError if the suppressions or the provider catalog are not valid.
    """
    try:
        suppressions = read_suppressions(list(settings.suppressions))
    except ValueError as error:
        raise ConfigError(f"[[sip_trunks.suppressions]]: {error}") from None
    return Options(
        accounts=[account.name for account in settings.accounts],
        expected_interval_seconds=settings.expected_interval_seconds,
        providers=read_provider_catalog(settings),
        suppressions=suppressions,
        office_hours=settings.office_hours,
        **({"as_of": datetime.now(UTC)} | asked),
    )


def stored_tables(names: Sequence[str], *, is_past: bool = False) -> set[str]:
    """Return the stored tables that these reports need; reports on the past also need the history."""
    needed = {table for need in tables_needed(names) for table in _STORED[need]}
    if AUDIT_REPORTS & set(names):
        needed |= {*_STORED["changes"], *(table.name for table in schema.AUDIT_TABLES)}
    return needed | set(_HISTORY if is_past else ())


def read_inputs_of(destination: ReadableDestination, names: Sequence[str], options: Options) -> ReportInputs:
    """Return the inputs of these reports from a destination, which counts trunks itself if only counts are needed."""
    if set(names) <= COUNT_REPORTS and not options.is_past:
        groups = frames.as_frame(destination.count_by(trunk_columns(names, options.by, options.only)))
        return ReportInputs({"groups": groups}, options)
    with destination.reading(stored_tables(names, is_past=options.is_past)) as connection:
        return read_inputs(connection, names, options)


def read_inputs(connection: duckdb.DuckDBPyConnection, names: Sequence[str], options: Options) -> ReportInputs:
    """Return the inputs of these reports. Raises ConfigError if a column to count by is not stored."""
    as_of, needed = options.as_of, tables_needed(names)
    past, columns = as_of if options.is_past else None, trunk_columns(names, options.by, options.only)
    moments: dict[str, Any] = {"since": options.changed_since, "as_of": as_of, "is_log": options.is_log}
    readers = {
        "trunks": partial(frames.read_trunks, columns=columns, as_of=past),
        "assignments": partial(frames.read_assignments, as_of=as_of),
        "lifetimes": partial(frames.read_lifetimes, as_of=as_of),
        "changes": partial(frames.read_changes, **moments),
        "changed_trunks": partial(frames.read_changed_trunks, **moments),
        "observations": partial(frames.read_observations, as_of=as_of),
    }
    tables = {name: read(connection) for name, read in readers.items() if name in needed}
    if AUDIT_REPORTS & set(names) and any(rule.needs_past for rule in options.rules):
        tables |= _read_past(connection, as_of, tables.get("changes") if options.is_log else None)
    if AUDIT_REPORTS & set(names):
        stored = {
            "findings_history": frames.read_findings(connection, past),
            "audited_rules": frames.read_audited_rules(connection),
        }
        tables |= {name: frame for name, frame in stored.items() if frame is not None}
    return ReportInputs(tables, options)


def _read_past(
    connection: duckdb.DuckDBPyConnection, as_of: datetime, logged: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """Return the frames of the past; `logged` has the changes of as many days, if a run has read them already."""
    since = recent_since(as_of)
    changes = frames.read_changes(connection, since, as_of, is_log=True) if logged is None else logged
    return {
        "recent_versions": frames.read_recent_versions(connection, since, as_of),
        "recent_changes": changes,
        "credentials": frames.read_credentials(connection, credentials_since(as_of), as_of),
    }
