"""The command `sql`: run one read-only statement on the stored data, with bound parameters."""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from sip_trunks.commands.options import Options, Parser, add_format, add_options
from sip_trunks.commands.sql_query import read_rows, run_query
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import Settings
from sip_trunks.reporting.formats import number_twins, write_rows
from sip_trunks.reporting.output import choose_format, write_bytes, write_text

_FORMATS = ("table", "csv", "json", "markdown", "parquet")
_STANDARD_INPUT = "-"


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "query",
        nargs="?",
        metavar="QUERY",
        help='one statement, such as "FROM sip_trunks LIMIT 10", a file that ends in .sql, or - for standard input '
        "(default: a prompt on a terminal, else standard input)",
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="value of $NAME in the query; repeatable"
    )
    parser.add_argument("--output", metavar="FILE", help="write to FILE (default: standard output)")
    add_format(parser, *_FORMATS, by_extension=True)
    add_options(parser, "--raw", "--destination")


def run(settings: Settings, options: Options) -> int:
    """Run the query, or those typed at the prompt; return the exit code.

    Raises UsageError for an invalid query, parameter or format.
    """
    if options.output == "":
        raise UsageError("--output needs the name of a file")
    output = Path(options.output) if options.output else None
    format_name = _choose_format(options.format, output)
    if options.raw and format_name != "csv":
        raise UsageError("--raw works only with --format csv")
    parameters = _read_parameters(options.param)
    if options.query is None and sys.stdin is not None and sys.stdin.isatty():
        if parameters or output or format_name == "parquet" or not sys.stdout.isatty():
            raise UsageError('there is no query; write one, such as sip-trunks sql "FROM sip_trunks LIMIT 10"')
        from sip_trunks.commands.sql_prompt import run_prompt

        return run_prompt(settings, format_name=format_name, raw=options.raw)
    query = _read_query(_STANDARD_INPUT if options.query is None else options.query)
    if format_name == "parquet":
        write_bytes(output, format_name, partial(_as_parquet, settings, query, parameters))
    else:
        columns, rows, _ = read_rows(settings, query, parameters, format_name=format_name)
        write_text(output, partial(write_rows, columns, rows, format_name=format_name, raw=options.raw))
    return 0


def _choose_format(format_name: str | None, output: Path | None) -> str:
    suffix = output.suffix.lower() if output else ""
    chosen = "parquet" if not format_name and suffix == ".parquet" else choose_format(format_name, output)
    if chosen not in _FORMATS:
        raise UsageError(f"sql does not write {suffix}; use .csv, .json, .md, .parquet or .txt")
    return chosen


def _read_query(text: str) -> str:
    """Return the query: the text itself, the content of the .sql file that it names, or, for -, of standard input."""
    is_file = text.lower().endswith(".sql") and (not re.search(r"\s", text) or Path(text).is_file())
    if text != _STANDARD_INPUT and not is_file:
        return text
    name = text if is_file else "standard input"
    try:
        content = Path(text).read_bytes() if is_file else sys.stdin.buffer.read() if sys.stdin else b""
        query = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise UsageError(f"{name} is not valid UTF-8") from None
    if not query.strip():
        raise UsageError(f"{name} has no query")
    return query


def _read_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """Return the parameters by name, from NAME=VALUE each. Raises UsageError."""
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.removeprefix("$").partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UsageError(f"--param needs NAME=VALUE, such as country=DE; got {pair!r}")
        if name in parameters:
            raise UsageError(f"--param {name} is given twice; give each parameter once")
        parameters[name] = value
    return parameters


def _as_parquet(settings: Settings, query: str, parameters: Mapping[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: pa.Table = run_query(settings, query, parameters, lambda result: result.to_arrow_table())
    content = pa.BufferOutputStream()
    try:
        pq.write_table(table.rename_columns(number_twins(table.column_names)), content, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise UsageError(f"a column does not fit into parquet ({error}); make it text: CAST(… AS VARCHAR)") from error
    return bytes(content.getvalue())
