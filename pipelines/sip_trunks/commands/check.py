"""The command `check`: whether a run would work, without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_destination

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Print one line per check; return the exit code of the first that fails."""
    from sip_trunks.core.settings import read_settings
    from sip_trunks.operations.preflight import check

    return check(read_settings(options.destination))
