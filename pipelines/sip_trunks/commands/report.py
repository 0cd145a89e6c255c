"""The command `report`: reports on the stored trunks, as of any moment, in any format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sip_trunks.commands.options import add_destination, add_report_output, moment
from trunk_transforms.schema.reports import COUNT_COLUMNS, REPORTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"reports to print (default: overview; html and xlsx: all): {', '.join(REPORTS)}",
    )
    parser.add_argument("--by", nargs="+", metavar="COL", help="counts: columns to count by")
    parser.add_argument("--period", choices=("day", "week", "month"), help="growth: size of a step (default: month)")
    parser.add_argument("--since", type=moment, metavar="TIME", help="changes, growth: start at this time")
    add_report_output(parser)
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Deliver the reports that are named; without a name the overview, or all of them in a page or workbook."""
    from sip_trunks.commands.report_frames import deriving, output_of, output_reports
    from sip_trunks.core.errors import UsageError
    from sip_trunks.core.settings import read_settings
    from sip_trunks.reporting.output import choose_format

    names = list(dict.fromkeys(options.names or (["counts"] if options.by else [])))
    _check_names(names, options.by)
    form = choose_format(options.format, output_of(options))
    names = names or _default_names(form)
    if options.period and "growth" not in names:
        raise UsageError("--period is for `report growth`; name that report")
    if options.since and not {"growth", "changes", "overview"} & set(names):
        raise UsageError("--since is for the reports growth, changes and overview; name one of them")
    asked: dict[str, Any] = {"since": options.since}
    if options.period:
        asked["period"] = options.period
    # The overview and the page show the last weeks; `changes` alone shows the last two snapshots.
    asked["is_log"] = "overview" in names and options.since is None
    if options.by:
        asked["by"] = options.by
    settings = read_settings(options.destination)
    with deriving(settings, options, names, asked) as inputs:
        output_reports(settings, options, names, inputs)
    return 0


def _default_names(form: str) -> list[str]:
    """Return what a format shows if no report is named."""
    if form == "html":
        return [report.name for report in REPORTS.values() if report.is_on_page]
    return list(REPORTS) if form == "xlsx" else ["overview"]


def _check_names(names: Sequence[str], by: Sequence[str] | None) -> None:
    from sip_trunks.core.errors import UsageError

    unknown = [name for name in names if name not in REPORTS]
    if unknown:
        raise UsageError(f"no report named {unknown[0]!r}; there are {', '.join(REPORTS)}")
    if not by:
        return
    if "counts" not in names:
        raise UsageError("--by says what `report counts` counts by; name that report")
    if len(set(by)) < len(by):
        raise UsageError("--by names a column twice")
    added = [name for name in by if name in COUNT_COLUMNS]
    if added:
        raise UsageError(f"--by {added[0]}: the report itself has a column of that name")
