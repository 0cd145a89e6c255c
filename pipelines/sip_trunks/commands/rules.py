"""The command `rules`: the rules of the audit, with reason and source."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_FIELDS = ("severity", "question", "why", "fix", "source")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--format",
        choices=("table", "csv", "json", "markdown"),
        default="table",
        help="output format (default: table)",
    )


def run(options: argparse.Namespace) -> int:
    """Print the rules."""
    from sip_trunks.reporting.terminal import print_rules
    from trunk_transforms.audit.rules import RULES

    rules = [{"rule": code} | {name: getattr(rule, name) for name in _FIELDS} for code, rule in RULES.items()]
    print_rules(rules, options.format)
    return 0
