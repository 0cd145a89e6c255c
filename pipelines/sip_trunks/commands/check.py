"""The command `check`: the preflight, which tests whether a run would work."""

from __future__ import annotations

from sip_trunks.commands.options import Options, add_destination

add_arguments = add_destination


def run(options: Options) -> int:
    """Print one line per check; return the exit code of the first that fails."""
    from sip_trunks.core.settings import read_settings
    from sip_trunks.operations.preflight import check

    return check(read_settings(options.destination))
