"""The command `rules`: list the rules of the audit, with reason and source."""

from __future__ import annotations

import sys

from sip_trunks.commands.options import Options, Parser, add_format

_FIELDS = ("severity", "question", "why", "fix", "source")


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    add_format(parser, "table", "csv", "json", "markdown")


def run(options: Options) -> int:
    """Print the rules: complete on a terminal and in csv, json and markdown, without the texts in a piped table."""
    from sip_trunks.reporting.formats import print_table, write_rows
    from sip_trunks.reporting.terminal import print_indented
    from trunk_transforms.audit.rules import RULES

    rows = [[code, *(getattr(rule, name) for name in _FIELDS)] for code, rule in RULES.items()]
    if options.format != "table":
        write_rows(["rule", *_FIELDS], rows, format_name=options.format)
    elif not sys.stdout.isatty():
        print_table(["rule", "severity", "question"], [row[:3] for row in rows])
    else:
        for code, severity, *texts in rows:
            print(f"{severity:<8}  {code}")
            for head, text in zip(("", "why", "fix", "from"), texts, strict=True):
                print_indented(head, text)
    return 0
