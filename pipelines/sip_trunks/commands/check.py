"""The command `check`: the preflight, which tests whether a run would work."""

from __future__ import annotations

from sip_trunks.commands.options import Options, Parser, add_destination


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_destination(parser)


def run(options: Options) -> int:
    """Print one line per check; return the exit code of the first that fails."""
    from sip_trunks.core.settings import read_settings
    from sip_trunks.operations.preflight import perform_checks
    from sip_trunks.reporting.formats import print_json

    results = []
    for result in perform_checks(read_settings(options.destination)):
        results.append(result)
        if not options.json:
            print(result, flush=True)
    exit_code = next((result.exit_code for result in results if result.exit_code), 0)
    if options.json:
        checks = [vars(result) | {"is_ok": not result.exit_code} for result in results]
        print_json({"exit_code": exit_code, "checks": checks})
    return exit_code
