"""Parse the command line, run the command, and turn an error into one line and an exit code.

Only the module of the chosen command is imported, which keeps the start fast.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING

from sip_trunks import __version__
from sip_trunks.commands.options import Options, Parser

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings

COMMANDS = {
    "run": "load the current trunks, publish them and write the reports",
    "report": "print reports on the stored trunks",
    "audit": "list misconfigured trunks and how to fix them",
    "rules": "list the rules of the audit, with reason and source",
    "drift": "list drift: deviations of responses from the declared fields",
    "sql": "run a read-only SQL query on the stored data",
    "status": "show when each account was last seen, and the last run",
    "accounts": "list configured and stored accounts; rename or forget one",
    "prune": "delete old data and compact the rest; shows the effect first",
    "check": "check settings, token, API and data directory",
    "schedule": "install, show or remove a schedule in cron or systemd",
    "describe": "print the data dictionary",
    "export": "write a consistent copy of everything stored",
    "import": "initialize an empty destination from an export",
    "notebook": "explore the stored data in the browser",
    "demo-api": "serve the demo account until stopped",
    "completion": "print a shell completion script",
}
"""Every command with its help text. Its module has the same name."""

_WITHOUT_SETTINGS = ("check", "completion")
"""`check` reports wrong settings as one of its checks; shells call `completion` in every folder."""

_EXIT_CODES = """exit codes:
  0 done   1 a bug   2 usage or settings   3 the API refused the token or address
  4 the API stayed unreachable   5 unusable or rejected response   6 another run is active
  7 the destination or the output failed   8 some accounts failed, the others were loaded
  10 a check found something: --fail-on, --max-age
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error is one line on standard error."""
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as ended:
        try:
            print(end="", flush=True)  # argparse does not notice that its help cannot be written
        except OSError as error:
            return _report_error(argparse.Namespace(command=None, debug=False, exit_code=ended.code), error)
        raise
    try:
        with _using_folders(options.config, options.data_dir):
            settings = None if options.command in _WITHOUT_SETTINGS else checked_settings(options.destination)
            options.exit_code = int(options.run(settings, options))
        print(end="", flush=True)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - every error becomes one line and an exit code
        return _report_error(options, error)
    return int(options.exit_code)


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="sip-trunks",
        usage="sip-trunks [OPTIONS] COMMAND ...",
        description="A versioned history of the SIP trunks of Famulor accounts, with reports, changes and an audit.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sip-trunks {__version__}")
    parser.set_defaults(config=None, data_dir=None, debug=False, destination=None)
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, prog="sip-trunks")
    for name, meaning in COMMANDS.items():
        added = parsers.add_parser(name, help=meaning, description=f"{meaning[0].upper()}{meaning[1:]}.")
        added.declare = partial(_declare_options, name)
    parser.complete()
    return parser


def _declare_options(command: str, parser: Parser) -> None:
    module = import_module(f"sip_trunks.commands.{command.replace('-', '_')}{'_' if iskeyword(command) else ''}")
    module.add_arguments(parser)
    # `exit_code` is for output that cannot be written.
    parser.set_defaults(run=module.run, exit_code=0)


def _using_folders(config: str | None, data_dir: str | None) -> AbstractContextManager[None]:
    """Use the folders of `--config` and `--data-dir`, also in the programs that a command starts."""
    from sip_trunks.core.config_files import name_config_dir
    from sip_trunks.core.process import changed_environment

    variables = {} if config is None else name_config_dir(config)
    if data_dir is not None:
        variables["SIP_TRUNKS__DATA_DIR"] = data_dir
    return changed_environment(variables)


def checked_settings(destination: str | None) -> "Settings":
    """Return the settings. Raises ConfigError if any is unknown or not valid, whether or not the command uses it."""
    from sip_trunks.core.settings import PSEUDONYMS, read_settings

    settings = read_settings(destination)
    if set(settings.pseudonymize) <= set(PSEUDONYMS):
        return settings
    from sip_trunks.destinations import open_destination
    from sip_trunks.warehouse.state import refuse_unknown_fields
    from trunk_transforms.schema import RESOURCES

    stored = open_destination(settings)
    tables = [resource.name for resource in RESOURCES]
    with stored.reading(tables) if stored.exists() else nullcontext() as connection:
        refuse_unknown_fields(settings, connection)
    return settings


def _report_error(options: Options, caught: BaseException) -> int:
    from sip_trunks.commands.signals import stopped_by
    from sip_trunks.core.errors import SipTrunksError, describe_error, exit_code_of, is_output_lost

    # An interrupted query raises an error of DuckDB instead of the signal's exception.
    error = stopped_by() or caught
    if options.debug:
        import traceback

        traceback.print_exception(caught)
    if is_output_lost(error) and isinstance(error, BrokenPipeError):
        return int(options.exit_code)  # the reader has closed the output (`| head`)
    code = (is_output_lost(error) and options.exit_code) or exit_code_of(error)
    bug = "" if code != 1 or isinstance(error, SipTrunksError) else f"a bug ({type(error).__name__}): "
    hint = "" if options.debug or not bug else "; --debug shows the traceback"
    return fail(options, f"{bug}{describe_error(error)}{hint}", code)


def fail(options: Options, message: str, code: int) -> int:
    """Print an error in the format of the command's output and return the exit code."""
    if options.command == "run" and options.json:
        from sip_trunks.reporting.formats import print_json

        with suppress(OSError):
            print_json({"error": message, "exit_code": code})
    if options.command == "run" and options.log_format == "json":
        from sip_trunks.core.logs import format_event

        print(format_event("error", "error", message, exit_code=code), file=sys.stderr)
    else:
        print(f"sip-trunks: {message}", file=sys.stderr)
    return code
