"""The command `rules`: list the rules of the audit, with reason and source, or explain some of them."""

import sys
from functools import partial

from sip_trunks.commands.options import Options, Parser, add_format, add_options
from sip_trunks.core.settings import Settings

_FIELDS = ("severity", "question", "why", "fix", "source")


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="rules or families of rules to explain (default: all)")
    add_format(parser, "table", "csv", "json", "markdown")
    add_options(parser, "--raw", "--output")


def run(_: Settings, options: Options) -> int:
    """Print the rules: complete on a terminal, by name, and in csv, json and markdown, else without the texts.

    Raises UsageError if no rule has one of the names.
    """
    from sip_trunks.core.errors import UsageError
    from sip_trunks.reporting.output import write_text
    from trunk_transforms.audit.rules import select_rules

    try:
        rules = select_rules(options.names, [])
    except ValueError as error:
        raise UsageError(str(error)) from None
    rows = [[rule.code, *(getattr(rule, name) for name in _FIELDS)] for rule in rules]
    is_complete = bool(options.names) or (options.output is None and sys.stdout.isatty())
    write_text(options.output, partial(_print, rows, options, is_complete=is_complete))
    return 0


def _print(rows: list[list[str]], options: Options, *, is_complete: bool) -> None:
    from sip_trunks.reporting.formats import print_table, write_rows
    from sip_trunks.reporting.terminal import print_indented

    if options.format != "table":
        write_rows(["rule", *_FIELDS], rows, format_name=options.format, raw=options.raw)
    elif not is_complete:
        print_table(["rule", "severity", "question"], [row[:3] for row in rows])
    else:
        for code, severity, *texts in rows:
            print(f"{severity:<8}  {code}")
            for head, text in zip(("", "why", "fix", "from"), texts, strict=True):
                print_indented(head, text)
