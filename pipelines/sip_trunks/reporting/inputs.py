"""What is stored → the inputs that every report follows from; the settings' part in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import ConfigError
from sip_trunks.core.provider_catalog import read_provider_catalog
from sip_trunks.warehouse import frames
from trunk_transforms import schema
from trunk_transforms.audit.suppressions import read_suppressions
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.reports.registry import tables_needed, trunk_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pandas as pd

    from sip_trunks.core.settings import Settings

_STORED = {
    "trunks": schema.SIP_TRUNKS.name,
    "lifetimes": schema.SIP_TRUNKS_HISTORY.name,
    "versions": schema.SIP_TRUNKS_HISTORY.name,
    "observations": schema.SIP_TRUNK_SNAPSHOTS.name,
    "drift": schema.SCHEMA_DRIFT.name,
}
"""Which table each frame of the inputs is read from."""


def read_options(settings: Settings, **asked: Any) -> Options:
    """Return the options of reports: what was asked for, and what the settings say. Raises ConfigError."""
    try:
        suppressions = read_suppressions(list(settings.suppressions))
    except ValueError as error:
        raise ConfigError(f"[[sip_trunks.suppressions]]: {error}") from None
    return Options(
        accounts=[account.name for account in settings.accounts],
        expected_interval_seconds=settings.expected_interval_seconds,
        providers=read_provider_catalog(settings),
        suppressions=suppressions,
        **({"as_of": datetime.now(UTC)} | asked),
    )


def stored_tables(names: Sequence[str], *, is_past: bool = False) -> set[str]:
    """Return the stored tables that these reports are read from; the past is in the history."""
    needed = {_STORED[need] for need in tables_needed(names)}
    return needed | ({_STORED["lifetimes"], _STORED["observations"]} if is_past else set())


def read_inputs(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], options: Options, *, is_past: bool = False
) -> ReportInputs:
    """Return what these reports follow from.

    With `is_past`, `as_of` is a moment that somebody asked for: the trunks are those known then. Raises ConfigError
    if a column to count by is not stored.
    """
    as_of = options.as_of
    needed = tables_needed(names)
    tables: dict[str, pd.DataFrame] = {}
    if "trunks" in needed:
        columns = trunk_columns(names, options.by)
        tables["trunks"] = frames.read_trunks(connection, columns, as_of if is_past else None)
        log = None if is_past else frames.read_findings(connection)
        if log is not None:
            tables["log"] = log
    if "lifetimes" in needed:
        tables["lifetimes"] = frames.read_lifetimes(connection, as_of)
    if "versions" in needed:
        tables["versions"] = frames.read_versions(connection, options.changed_since, as_of)
    if "observations" in needed:
        tables["observations"] = frames.read_observations(connection, as_of)
    if "drift" in needed:
        tables["drift"] = frames.read_delivered(connection, as_of)
    return ReportInputs(tables, options)
