"""What `report` and `audit` share: the inputs as of a moment, by either engine, and where the frames go."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sip_trunks import __version__
from sip_trunks.core.errors import UsageError
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.html_page import render_page
from sip_trunks.reporting.inputs import read_inputs, read_options, stored_tables
from sip_trunks.reporting.output import choose_format, write_reports
from sip_trunks.warehouse import frames, state
from trunk_transforms.reports.inputs import ReportInputs
from trunk_transforms.reports.registry import derive_report, trunk_columns
from trunk_transforms.schema.reports import COUNT_REPORTS
from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    import pandas as pd
    from duckdb import DuckDBPyConnection

    from sip_trunks.core.settings import Settings


@contextmanager
def deriving(
    settings: Settings, options: argparse.Namespace, names: list[str], asked: dict[str, Any]
) -> Iterator[ReportInputs]:
    """Yield what the reports follow from, as of the moment that is asked for."""
    is_past = options.as_of is not None
    if is_past:
        asked["as_of"] = options.as_of
    wanted = read_options(settings, is_masked=options.mask, **asked)
    if wanted.since is not None and wanted.since > wanted.as_of:
        raise UsageError(f"--since {wanted.since.isoformat()} is after {wanted.as_of.isoformat()}")
    destination = open_destination(settings)
    if options.engine == "dask":
        from sip_trunks.reporting.dask_engine import reporting_in_parts

        if is_past:
            with destination.reading((SIP_TRUNK_SNAPSHOTS.name,)) as connection:
                _refuse_unknown_past(connection, wanted.as_of)
        with reporting_in_parts(settings, names, wanted, scheduler=options.scheduler, is_past=is_past) as parted:
            yield parted
        return
    if options.scheduler:
        raise UsageError("--scheduler is for --engine dask")
    if set(names) <= COUNT_REPORTS and not is_past:
        groups = frames.as_frame(destination.count_by(trunk_columns(names, wanted.by)))
        yield ReportInputs({"groups": groups}, wanted)
        return
    with destination.reading(stored_tables(names, is_past=is_past)) as connection:
        if is_past:
            _refuse_unknown_past(connection, wanted.as_of)
        inputs = read_inputs(connection, names, wanted, is_past=is_past)
    yield inputs


def output_reports(settings: Settings, options: argparse.Namespace, names: list[str], inputs: ReportInputs) -> None:
    """Write the reports to where the options say, in their format."""
    place, as_of = open_destination(settings).location, inputs.options.as_of

    def page(shown: Mapping[str, pd.DataFrame]) -> str:
        return render_page(shown, as_of=as_of, place=place, version=__version__)

    write_reports(
        {name: derive_report(name, inputs) for name in names},
        form=choose_format(options.format, output_of(options)),
        output=output_of(options),
        raw=options.raw,
        suppressed_count=len(inputs.suppressed) if "audit" in names else 0,
        render_page=page,
    )


def _refuse_unknown_past(connection: DuckDBPyConnection, as_of: datetime) -> None:
    span = state.read_observation_span(connection)
    if span and as_of < span[0]:
        raise UsageError(f"nothing is known of {as_of.isoformat()}: the first snapshot is of {span[0].isoformat()}")


def output_of(options: argparse.Namespace) -> Path | None:
    """Return the file or folder that `--output` names."""
    return Path(options.output) if options.output else None
