"""The command `report`: reports on the stored trunks, as of any time, in any format."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sip_trunks.commands.options import Options, Parser, add_report_output, moment
from sip_trunks.core.errors import UsageError, suggest
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.output import choose_format, write_reports
from trunk_transforms.schema.reports import COUNT_COLUMNS, REPORTS
from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS

if TYPE_CHECKING:
    from trunk_transforms.reports.inputs import ReportInputs


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"reports to print (default: overview; html and xlsx: all): {', '.join(REPORTS)}",
    )
    parser.add_argument("--by", nargs="+", metavar="COL", help="counts: columns to count by")
    parser.add_argument("--period", choices=("day", "week", "month"), help="growth: size of a step (default: month)")
    parser.add_argument("--since", type=moment, metavar="TIME", help="changes, growth, overview: start at this time")
    add_report_output(parser)


def run(settings: Settings, options: Options) -> int:
    """Write the reports that are named; by default the overview, or all reports in a page or a workbook."""
    names = list(dict.fromkeys(options.names or (["counts"] if options.by else [])))
    _check_names(names, options.by)
    on_page = [name for name, report in REPORTS.items() if report.is_on_page]
    defaults = {"html": on_page, "xlsx": list(REPORTS), "png": ["counts"]}
    names = names or defaults.get(choose_format(options.format, options.output), ["overview"])
    if options.period and "growth" not in names:
        raise UsageError("--period works only with `report growth`; name that report")
    if options.since and not {"growth", "changes", "overview"} & set(names):
        raise UsageError("--since works only with the reports growth, changes and overview; name one of them")
    # The overview and the page show the last weeks; `changes` alone shows the last two snapshots.
    asked: dict[str, Any] = {"since": options.since, "is_log": "overview" in names and options.since is None}
    asked |= {name: getattr(options, name) for name in ("period", "by") if getattr(options, name)}
    with deriving(settings, options, names, **asked) as inputs:
        output_reports(settings, options, names, inputs)
    return 0


def _check_names(names: list[str], by: list[str] | None) -> None:
    """Raise UsageError for an unknown report, or columns that `counts` cannot count by."""
    if unknown := [name for name in names if name not in REPORTS]:
        near = suggest(unknown[0], REPORTS)
        raise UsageError(f"no report named {unknown[0]!r}; there are {', '.join(REPORTS)}{near}")
    if not by:
        return
    if "counts" not in names:
        raise UsageError("--by works only with `report counts`; name that report")
    if len(set(by)) < len(by):
        raise UsageError("--by names a column twice; name each column once")
    if added := [name for name in by if name in COUNT_COLUMNS]:
        raise UsageError(f"--by {added[0]}: the report has a column of that name; choose another column")


@contextmanager
def deriving(settings: Settings, options: Options, names: list[str], **asked: Any) -> Iterator["ReportInputs"]:
    """Yield the inputs of the reports, as of `--as-of`; `asked` are further options of reports.

    Raises UsageError if the options contradict each other, or for a time before the first snapshot.
    """
    from sip_trunks.reporting.inputs import read_inputs_of, read_options
    from sip_trunks.warehouse.state import read_observation_span, refuse_unknown_accounts

    is_past = options.as_of is not None
    asked |= {"as_of": options.as_of, "is_past": True} if is_past else {}
    wanted = read_options(settings, is_masked=options.mask, only=options.account, **asked)
    if wanted.since is not None and wanted.since > wanted.as_of:
        raise UsageError(f"--since {wanted.since.isoformat()} is after {wanted.as_of.isoformat()}; use an earlier time")
    destination = open_destination(settings)
    if options.account or is_past:
        with destination.reading((SIP_TRUNK_SNAPSHOTS.name,)) as connection:
            refuse_unknown_accounts(connection, options.account)
            span = read_observation_span(connection)
        if is_past and span and wanted.as_of < span[0]:
            first_at = span[0].isoformat()
            raise UsageError(f"nothing was stored at {wanted.as_of.isoformat()}; the first snapshot is from {first_at}")
    if options.engine == "dask":
        from sip_trunks.reporting.dask_engine import reporting_in_parts

        with reporting_in_parts(settings, names, wanted, scheduler=options.scheduler) as parted:
            yield parted
        return
    if options.scheduler:
        raise UsageError("--scheduler works only with --engine dask")
    yield read_inputs_of(destination, names, wanted)


def output_reports(settings: Settings, options: Options, names: list[str], inputs: "ReportInputs") -> None:
    """Write the reports in the format and to the file that the options name."""
    from trunk_transforms.audit.coverage import describe_coverage
    from trunk_transforms.reports.registry import derive_page, derive_report

    format_name = choose_format(options.format, options.output)
    write_reports(
        derive_page(names, inputs) if format_name == "html" else {name: derive_report(name, inputs) for name in names},
        format_name=format_name,
        output=options.output,
        raw=options.raw,
        is_inline=options.inline,
        suppressed_count=len(inputs.suppressed) if "audit" in names else 0,
        coverage=list(describe_coverage(inputs.coverage)) if names == ["audit"] else [],
        as_of=inputs.options.as_of,
        destination=open_destination(settings),
    )
