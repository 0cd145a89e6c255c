"""The commands `report`, `audit` and `rules`: which reports, as of when, in which form, to where."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sip_trunks import __version__
from sip_trunks.core.errors import CHECK_FAILED, SettingsError
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.html_page import PAGED, render_page
from sip_trunks.reporting.inputs import read_basis, read_options, stored_tables
from sip_trunks.reporting.output import choose_form, deliver
from sip_trunks.reporting.terminal import print_rules
from sip_trunks.warehouse import frames, state
from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.selection import select_rules
from trunk_transforms.audit.suppressions import expired
from trunk_transforms.reports.inputs import Basis
from trunk_transforms.reports.registry import COUNTS, REPORTS, trunk_columns
from trunk_transforms.schema.reports import COUNT_COLUMNS, SEVERITIES
from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import pandas as pd
    from duckdb import DuckDBPyConnection

    from sip_trunks.core.settings import Settings

_EVERY_REPORT = {"html": PAGED, "xlsx": tuple(REPORTS)}
"""What a form shows when no report is named; the others show the overview."""


def report(settings: Settings, options: argparse.Namespace) -> int:
    """Deliver the reports that are asked for; without a name the overview, or all of them in a page or workbook."""
    names = list(dict.fromkeys(options.names or (["counts"] if options.by else [])))
    _check_names(names, options.by)
    form = choose_form(options.format, _output(options))
    names = names or list(_EVERY_REPORT.get(form, ("overview",)))
    if options.period and "growth" not in names:
        raise SettingsError("--period is for `report growth`; name that report")
    if options.since and not {"growth", "changes", "overview"} & set(names):
        raise SettingsError("--since is for the reports growth, changes and overview; name one of them")
    asked: dict[str, Any] = {"since": options.since}
    if options.period:
        asked["period"] = options.period
    # The overview and the page tell of the last weeks; `changes` alone, of the last two snapshots.
    asked["is_log"] = "overview" in names and options.since is None
    if options.by:
        asked["by"] = options.by
    with _deriving(settings, options, names, asked) as basis:
        _deliver(settings, options, names, basis)
    return 0


def audit(settings: Settings, options: argparse.Namespace) -> int:
    """Deliver the findings of the rules that are selected; return 10 if one is as severe as `--fail-on` says."""
    try:
        rules = select_rules(_split(options.select), _split(options.ignore))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    with _deriving(settings, options, ["audit"], {"rules": rules}) as basis:
        code = _exit_code(basis, options.fail_on)
        try:
            _deliver(settings, options, ["audit"], basis)
            sys.stdout.flush()
        except BrokenPipeError:
            # A reader that has what it wanted (`| head`) must not turn a failure into a success.
            if not code:
                raise
            sys.stderr.close()
            return code
    for suppression in expired(basis.options.suppressions, basis.options.as_of):
        what = f"{suppression.rule} for trunk {suppression.trunk_id}"
        print(f"sip-trunks: the suppression of {what} has expired on {suppression.until}", file=sys.stderr)
    return code


def _exit_code(basis: Basis, fail_on: str | None) -> int:
    failing = SEVERITIES[SEVERITIES.index(fail_on) :] if fail_on else ()
    return CHECK_FAILED if basis.findings["severity"].isin(failing).any() else 0


def rules(options: argparse.Namespace) -> int:
    """Print the rules of the audit."""
    described = [
        {
            "rule": rule.code,
            "severity": rule.severity,
            "question": rule.question,
            "why": rule.why,
            "fix": rule.fix,
            "source": rule.source,
        }
        for rule in RULES.values()
    ]
    print_rules(described, options.format)
    return 0


def _check_names(names: Sequence[str], by: Sequence[str] | None) -> None:
    unknown = [name for name in names if name not in REPORTS]
    if unknown:
        raise SettingsError(f"no report named {unknown[0]!r}; there are {', '.join(REPORTS)}")
    if not by:
        return
    if "counts" not in names:
        raise SettingsError("--by says what `report counts` counts by; name that report")
    if len(set(by)) < len(by):
        raise SettingsError("--by names a column twice")
    taken = [name for name in by if name in COUNT_COLUMNS]
    if taken:
        raise SettingsError(f"--by {taken[0]}: the report itself has a column of that name")


@contextmanager
def _deriving(
    settings: Settings, options: argparse.Namespace, names: list[str], asked: dict[str, Any]
) -> Iterator[Basis]:
    """Yield what the reports follow from, as of the moment that is asked for."""
    is_past = options.as_of is not None
    if is_past:
        asked["as_of"] = options.as_of
    wanted = read_options(settings, is_masked=options.mask, **asked)
    if wanted.since is not None and wanted.since > wanted.as_of:
        raise SettingsError(f"--since {wanted.since.isoformat()} is after {wanted.as_of.isoformat()}")
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
        raise SettingsError("--scheduler is for --engine dask")
    if set(names) <= COUNTS and not is_past:
        tallies = frames.as_frame(destination.tally(trunk_columns(names, wanted.by)))
        yield Basis({"tallies": tallies}, wanted)
        return
    with destination.reading(stored_tables(names, is_past=is_past)) as connection:
        if is_past:
            _refuse_unknown_past(connection, wanted.as_of)
        basis = read_basis(connection, names, wanted, is_past=is_past)
    yield basis


def _deliver(settings: Settings, options: argparse.Namespace, names: list[str], basis: Basis) -> None:
    place, as_of = open_destination(settings).place, basis.options.as_of

    def page(shown: Mapping[str, pd.DataFrame]) -> str:
        return render_page(shown, as_of=as_of, place=place, version=__version__)

    deliver(
        {name: REPORTS[name].derive(basis) for name in names},
        form=choose_form(options.format, _output(options)),
        output=_output(options),
        raw=options.raw,
        suppressed_count=len(basis.suppressed) if "audit" in names else 0,
        render_page=page,
    )


def _refuse_unknown_past(connection: DuckDBPyConnection, as_of: datetime) -> None:
    span = state.read_looks_span(connection)
    if span and as_of < span[0]:
        raise SettingsError(f"nothing is known of {as_of.isoformat()}: the first snapshot is of {span[0].isoformat()}")


def _output(options: argparse.Namespace) -> Path | None:
    return Path(options.output) if options.output else None


def _split(texts: Sequence[str]) -> list[str]:
    """Return the codes of an option that may come several times and hold several, separated by commas."""
    return [code.strip() for text in texts for code in text.split(",") if code.strip()]
