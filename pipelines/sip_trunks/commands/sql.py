"""The command `sql`: one read-only statement on what is stored, its parameters bound, its result in any form."""

from __future__ import annotations

import io
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from sip_trunks.core.errors import SettingsError
from sip_trunks.destinations.base import open_destination
from sip_trunks.reporting.formats import number_twins, write_rows
from sip_trunks.warehouse.catalog import find_tables
from trunk_transforms.parse.envelope import printable
from trunk_transforms.schema.reports import CURRENT_FINDINGS, RUNS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sip_trunks.core.settings import Settings

T = TypeVar("T")

_FORMS_BY_SUFFIX = {".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet"}
_OTHER_FORMS = (".html", ".htm", ".xlsx", ".png")
"""What `report` writes, and a query does not."""
_STANDARD_INPUT = "-"
_LONGEST_NAME = 200
_LONGEST_ERROR = 2_000
_ABSENT = {
    CURRENT_FINDINGS.name: "findings are there if the last run that saw something new wrote reports, and on no server",
    RUNS.name: "runs are there after the first run of this release, and on no server: state/runs.jsonl has them",
}
_CHUNK = 10_000
# EXPLAIN ANALYZE would execute whatever it explains. Comments may come before it.
_EXPLAIN = re.compile(r"^((?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*)EXPLAIN(\s+ANALYZE)?\s", flags=re.IGNORECASE)


@dataclass(frozen=True)
class Rows:
    """The result of a query: all of its rows or the first ones, and how many there are."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    count: int


def sql(settings: Settings, options: argparse.Namespace) -> int:
    """Answer the query, or those that somebody types at the prompt; return the exit code.

    Raises SettingsError for a query, a parameter or a form that will not do.
    """
    if options.output == "":
        raise SettingsError("--output needs the name of a file")
    output = Path(options.output).absolute() if options.output else None
    form = _choose_form(options.format, output)
    if options.raw and form != "csv":
        raise SettingsError("--raw is for --format csv")
    parameters = read_parameters(options.param)
    if options.query is None and sys.stdin is not None and sys.stdin.isatty():
        if parameters or output or form == "parquet" or not sys.stdout.isatty():
            raise SettingsError('there is no query; write one, such as sip-trunks sql "FROM sip_trunks LIMIT 10"')
        from sip_trunks.commands.sql_prompt import ask

        return ask(settings, form=form, raw=options.raw)
    query = read_query(_STANDARD_INPUT if options.query is None else options.query)
    if form == "parquet":
        if output is None and sys.stdout.isatty():
            raise SettingsError("parquet is nothing for a terminal: --output FILE")
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
        raise SettingsError(
            f"sql writes no {suffix}; it writes {', '.join(_FORMS_BY_SUFFIX)}, and text: --format table"
        )
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
        raise SettingsError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise SettingsError(f"{name} is no text in UTF-8") from None
    if not query.strip():
        raise SettingsError(f"{name} has no query")
    return query


def read_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """Return the parameters by name, from NAME=VALUE each. Raises SettingsError."""
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.removeprefix("$")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise SettingsError(f"--param needs NAME=VALUE, such as country=DE; got {pair!r}")
        if name in parameters:
            raise SettingsError(f"--param {name} is given twice")
        parameters[name] = value
    return parameters


def answer(
    settings: Settings, query: str, parameters: Mapping[str, str], *, form: str = "table", most: int | None = None
) -> Rows:
    """Return the rows, or the first `most`, that answer a query on what is published now. Raises SettingsError."""

    def fetch(result: duckdb.DuckDBPyConnection) -> Rows:
        described = result.description or ()
        rows = result.fetchall() if most is None else result.fetchmany(most)
        count = len(rows)
        # What is only counted need not fit into memory.
        while most is not None and (more := len(result.fetchmany(_CHUNK))):
            count += more
        if form == "json":
            is_json = [str(column[1]) == "JSON" for column in described]
            rows = [tuple(map(_decode_json, row, is_json)) for row in rows]
        return Rows([column[0] for column in described], rows, count)

    return _query(settings, query, parameters, fetch)


def write_answer(found: Rows, *, form: str, raw: bool) -> None:
    """Print what a query has found; the names of its columns are as untrusted as values: PIVOT makes them of those."""
    is_read_by_people = form in ("table", "markdown")
    columns = [printable(name, _LONGEST_NAME) for name in found.columns] if is_read_by_people else found.columns
    write_rows(columns, found.rows, form=form, raw=raw)


def _query(
    settings: Settings, query: str, parameters: Mapping[str, str], fetch: Callable[[duckdb.DuckDBPyConnection], T]
) -> T:
    """Return what is fetched of the query's result. Raises SettingsError for a query that will not do."""

    def work() -> T:
        refuse_all_but_queries(connection, query, parameters)
        # To bind parameters DuckDB imports pandas: without any, none of that.
        return fetch(connection.execute(query, parameters) if parameters else connection.execute(query))

    _refuse_what_is_no_text(query, parameters)
    with open_destination(settings).reading(find_tables(query)) as connection, ThreadPoolExecutor(1) as thread:
        # A query in this thread would not notice Ctrl-C.
        working = thread.submit(work)
        try:
            return working.result()
        except KeyboardInterrupt:
            # DuckDB forgets an interruption that comes before the query has begun.
            while not working.done():
                connection.interrupt()
                wait([working], timeout=0.1)
            raise
        except duckdb.Error as error:
            raise _explained(error) from error
        except (OverflowError, RecursionError) as error:
            raise SettingsError(f"SQL: a value cannot be shown ({error}); make it text: CAST(… AS VARCHAR)") from error


def _refuse_what_is_no_text(query: str, parameters: Mapping[str, str]) -> None:
    """Raise SettingsError for bytes of a command line that are not UTF-8: DuckDB has no words for them."""
    for what, text in (
        ("SQL: the query", query),
        *((f"--param {name}: the value", v) for name, v in parameters.items()),
    ):
        try:
            text.encode()
        except UnicodeError:
            raise SettingsError(f"{what} is no text in UTF-8") from None


def _explained(error: duckdb.Error) -> SettingsError:
    lines = [line for line in str(error).splitlines() if line.strip() != "^"]
    hint = ""
    if isinstance(error, duckdb.CatalogException):
        hint = next((f" ({text})" for name, text in _ABSENT.items() if f"name {name} does not exist" in lines[0]), "")
    # The error may quote what the API sent.
    text = printable(" ".join(" ".join(lines).split()), _LONGEST_ERROR)
    return SettingsError(f"SQL: {text}{hint}")


def refuse_all_but_queries(connection: duckdb.DuckDBPyConnection, query: str, given: Collection[str] = ()) -> None:
    """Raise SettingsError unless the text is one query, or the explanation of one, and its parameters are given."""
    from duckdb import StatementType

    explained = _EXPLAIN.sub(r"\1", query)
    statements = connection.extract_statements(explained)

    # Of a PIVOT without its values DuckDB makes several: for each of its columns a type that looks the values up, a
    # statement without a text, which nobody can write; the query comes last. They cannot be explained together.
    def is_made_for_pivot(statement: duckdb.Statement) -> bool:
        return statement.type == StatementType.CREATE and not statement.query

    while explained == query and len(statements) > 1 and is_made_for_pivot(statements[0]):
        del statements[0]
    if len(statements) != 1:
        raise SettingsError("SQL: expected one statement")
    if statements[0].type != StatementType.SELECT:
        raise SettingsError(f"SQL: expected a query, got {statements[0].type.name}; what is stored is read only")
    needed = set(statements[0].named_parameters)
    missing, unused = sorted(needed.difference(given)), sorted(set(given) - needed)
    if missing and missing[0].isdecimal():
        raise SettingsError("SQL: parameters need names, such as $country instead of ? or $1: --param country=DE")
    if missing:
        raise SettingsError(f"SQL: the query has ${missing[0]}; give it a value: --param {missing[0]}=…")
    if unused:
        raise SettingsError(f"--param {unused[0]}: the query has no ${unused[0]}")


def _decode_json(value: Any, is_json: bool) -> Any:
    return json.loads(value) if is_json and value is not None else value


def _as_parquet(settings: Settings, query: str, parameters: Mapping[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: pa.Table = _query(settings, query, parameters, lambda result: result.to_arrow_table())
    content = pa.BufferOutputStream()
    try:
        pq.write_table(table.rename_columns(number_twins(table.column_names)), content, compression="zstd")
    except pa.ArrowNotImplementedError as error:
        raise SettingsError(
            f"a column does not fit into parquet ({error}); make it text: CAST(… AS VARCHAR)"
        ) from error
    return bytes(content.getvalue())


def _deliver(content: bytes, output: Path | None) -> None:
    """Write the content to a file, or to standard output without one."""
    if output is not None:
        from sip_trunks.reporting.output import write_output

        write_output(output, content)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
