"""The command `sql`: one read-only statement on what is stored, its parameters bound, its result in any form."""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_destination, add_format
from sip_trunks.commands.sql_query import answer, run_query, write_answer
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import read_settings
from sip_trunks.reporting.formats import number_twins

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from sip_trunks.core.settings import Settings


_FORMS_BY_SUFFIX = {".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet"}
_OTHER_FORMS = (".html", ".htm", ".xlsx", ".png")
"""What `report` writes, and a query does not."""
_STANDARD_INPUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--output", metavar="FILE", help="write to FILE, in the format of its extension")
    add_format(parser, ("table", "csv", "json", "markdown", "parquet"), default=None)
    add_destination(parser)


def run(options: argparse.Namespace) -> int:
    """Answer the query, or those typed at the prompt; return the exit code.

    Raises UsageError for a query, a parameter or a format that cannot be used.
    """
    settings = read_settings(options.destination)
    if options.output == "":
        raise UsageError("--output needs the name of a file")
    output = Path(options.output).absolute() if options.output else None
    form = _choose_form(options.format, output)
    if options.raw and form != "csv":
        raise UsageError("--raw is for --format csv")
    parameters = read_parameters(options.param)
    if options.query is None and sys.stdin is not None and sys.stdin.isatty():
        if parameters or output or form == "parquet" or not sys.stdout.isatty():
            raise UsageError('there is no query; write one, such as sip-trunks sql "FROM sip_trunks LIMIT 10"')
        from sip_trunks.commands.sql_prompt import ask

        return ask(settings, form=form, raw=options.raw)
    query = read_query(_STANDARD_INPUT if options.query is None else options.query)
    if form == "parquet":
        if output is None and sys.stdout.isatty():
            raise UsageError("parquet is nothing for a terminal: --output FILE")
        _deliver(_as_parquet(settings, query, parameters), output)
    elif output is None:
        write_answer(answer(settings, query, parameters, form=form), form=form, raw=options.raw)
    else:
        found, text = answer(settings, query, parameters, form=form), io.StringIO()
        with redirect_stdout(text):
            write_answer(found, form=form, raw=options.raw)
        _deliver(text.getvalue().encode(), output)
    return 0


def _choose_form(form: str | None, output: Path | None) -> str:
    suffix = output.suffix.lower() if output else ""
    if form is None and suffix in _OTHER_FORMS:
        raise UsageError(f"sql writes no {suffix}; it writes {', '.join(_FORMS_BY_SUFFIX)}, and text: --format table")
    return form or _FORMS_BY_SUFFIX.get(suffix, "table")


def read_query(text: str) -> str:
    """Return the query: the text itself, what is in the .sql file that it names, or, for -, on standard input."""
    name = "standard input"
    try:
        if text == _STANDARD_INPUT:
            query = sys.stdin.buffer.read().decode("utf-8-sig") if sys.stdin else ""
        elif text.lower().endswith(".sql") and (not re.search(r"\s", text) or Path(text).is_file()):
            name = text
            query = Path(text).read_text("utf-8-sig")
        else:
            return text
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise UsageError(f"{name} is no text in UTF-8") from None
    if not query.strip():
        raise UsageError(f"{name} has no query")
    return query


def read_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """Return the parameters by name, from NAME=VALUE each. Raises UsageError."""
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.removeprefix("$")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UsageError(f"--param needs NAME=VALUE, such as country=DE; got {pair!r}")
        if name in parameters:
            raise UsageError(f"--param {name} is given twice")
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


def _deliver(content: bytes, output: Path | None) -> None:
    """Write the content to a file, or to standard output without one."""
    if output is not None:
        from sip_trunks.reporting.output import write_output

        write_output(output, content)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
