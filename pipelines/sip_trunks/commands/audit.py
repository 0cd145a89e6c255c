"""The command `audit`: what is misconfigured, and how to fix it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_destination, add_report_output
from trunk_transforms.schema.reports import SEVERITIES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--select", action="append", default=[], metavar="RULES", help="only these rules or families")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="RULES", help="without these rules or families"
    )
    parser.add_argument(
        "--fail-on", choices=SEVERITIES, help="exit with 10 if there is a finding of this severity or above"
    )
    add_report_output(parser)
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Deliver the findings of the selected rules; return 10 if one is as severe as `--fail-on` says."""
    from sip_trunks.commands.report_frames import deriving, output_reports
    from sip_trunks.core.errors import CHECK_FAILED, UsageError
    from sip_trunks.core.settings import read_settings
    from trunk_transforms.audit.selection import select_rules
    from trunk_transforms.audit.suppressions import expired

    settings = read_settings(options.destination)
    try:
        rules = select_rules(_split(options.select), _split(options.ignore))
    except ValueError as error:
        raise UsageError(str(error)) from None
    failing = SEVERITIES[SEVERITIES.index(options.fail_on) :] if options.fail_on else ()
    with deriving(settings, options, ["audit"], {"rules": rules}) as inputs:
        code = CHECK_FAILED if inputs.findings["severity"].isin(failing).any() else 0
        try:
            output_reports(settings, options, ["audit"], inputs)
            sys.stdout.flush()
        except BrokenPipeError:
            # A reader that has what it wanted (`| head`) must not turn a failure into a success.
            if not code:
                raise
            sys.stderr.close()
            return code
    for suppression in expired(inputs.options.suppressions, inputs.options.as_of):
        what = f"{suppression.rule} for trunk {suppression.trunk_id}"
        print(f"sip-trunks: the suppression of {what} has expired on {suppression.until}", file=sys.stderr)
    return code


def _split(texts: Sequence[str]) -> list[str]:
    """Return the codes of an option that may be repeated, and may hold several separated by commas."""
    return [code.strip() for text in texts for code in text.split(",") if code.strip()]
