"""The command `check`: the preflight, which tests whether a run would work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.commands.options import Options, Parser, add_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sip_trunks.operations.preflight import Check


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_options(parser, "--destination")


def run(_: None, options: Options) -> int:
    """Print one line per check; return the exit code of the first that fails."""
    from sip_trunks.reporting.formats import print_json

    results = []
    for result in _perform(options.destination):
        results.append(result)
        if not options.json:
            print(result, flush=True)
    exit_code = next((result.exit_code for result in results if result.exit_code), 0)
    if options.json:
        checks = [vars(result) | {"is_ok": not result.exit_code} for result in results]
        print_json({"exit_code": exit_code, "checks": checks})
    return exit_code


def _perform(destination: str | None) -> Iterator[Check]:
    """Yield the checks; wrong settings are the only one."""
    from sip_trunks.commands.dispatch import checked_settings
    from sip_trunks.core.errors import ConfigError, describe_error
    from sip_trunks.operations.preflight import Check, perform_checks

    try:
        settings = checked_settings(destination)
    except ConfigError as error:
        yield Check("settings", describe_error(error), error.exit_code)
        return
    yield from perform_checks(settings)
