"""The command `audit`: list misconfigured trunks and how to fix them."""

import sys

from sip_trunks.commands.options import Options, Parser, add_report_output
from sip_trunks.core.settings import Settings
from trunk_transforms.schema.findings import SEVERITIES


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    for name, meaning in (("--select", "only these rules or families"), ("--ignore", "skip these rules or families")):
        parser.add_argument(name, action="append", default=[], metavar="RULES", help=meaning)
    parser.add_argument(
        "--fail-on", choices=SEVERITIES, help="exit with 10 if there is a finding of this severity or above"
    )
    parser.add_argument(
        "--coverage", action="store_true", help="also print the report coverage: trunks and rules that are not checked"
    )
    add_report_output(parser)


def run(settings: Settings, options: Options) -> int:
    """Write the findings of the selected rules; return 10 if one reaches the severity of `--fail-on`."""
    from sip_trunks.commands.report import deriving, output_reports
    from sip_trunks.core.errors import CHECK_FAILED, UsageError
    from sip_trunks.reporting.output import choose_format
    from trunk_transforms.audit.rules import select_rules

    try:
        rules = select_rules(_split(options.select), _split(options.ignore))
    except ValueError as error:
        raise UsageError(str(error)) from None
    failing = SEVERITIES[SEVERITIES.index(options.fail_on) :] if options.fail_on else ()
    is_whole = options.coverage or choose_format(options.format, options.output) in ("html", "xlsx")
    names = ["audit", "coverage"] if is_whole else ["audit"]
    with deriving(settings, options, names, rules=rules) as inputs:
        # Output that cannot be written, such as after `| head`, must not turn a failure into a success.
        options.exit_code = CHECK_FAILED if inputs.findings["severity"].isin(failing).any() else 0
        output_reports(settings, options, names, inputs)
        sys.stdout.flush()
    for suppression in inputs.options.suppressions:
        if not suppression.is_valid(inputs.options.as_of):
            text = f"the suppression of {suppression.subject} has expired on {suppression.until}"
            print(f"sip-trunks: {text}", file=sys.stderr)
    return int(options.exit_code)


def _split(texts: list[str]) -> list[str]:
    """Return the codes of a repeatable option, each text with one or more codes separated by commas."""
    return [code.strip() for text in texts for code in text.split(",") if code.strip()]
