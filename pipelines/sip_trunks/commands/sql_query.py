"""A query on what is stored: its rows, and how they are printed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from sip_trunks.core.errors import QueryError
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.formats import write_rows
from sip_trunks.warehouse.read_only import refuse_all_but_queries
from sip_trunks.warehouse.sql import find_tables
from trunk_transforms.schema.reports import CURRENT_FINDINGS, RUNS
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sip_trunks.core.settings import Settings


T = TypeVar("T")


_LONGEST_NAME = 200


_LONGEST_ERROR = 2_000


_ABSENT = {
    CURRENT_FINDINGS.name: "findings are there if the last run that saw something new wrote reports, and on no server",
    RUNS.name: "runs are there after the first run of this release, and on no server: state/runs.jsonl has them",
}


_CHUNK = 10_000


@dataclass(frozen=True)
class Rows:
    """The result of a query: all of its rows or the first ones, and how many there are."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    count: int


def answer(
    settings: Settings, query: str, parameters: Mapping[str, str], *, form: str = "table", most: int | None = None
) -> Rows:
    """Return the rows, or the first `most`, that answer a query on what is published now. Raises QueryError."""

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

    return run_query(settings, query, parameters, fetch)


def write_answer(found: Rows, *, form: str, raw: bool) -> None:
    """Print what a query has found; the names of its columns are as untrusted as values: PIVOT makes them of those."""
    is_read_by_people = form in ("table", "markdown")
    columns = [printable(name, _LONGEST_NAME) for name in found.columns] if is_read_by_people else found.columns
    write_rows(columns, found.rows, form=form, raw=raw)


def run_query(
    settings: Settings, query: str, parameters: Mapping[str, str], fetch: Callable[[duckdb.DuckDBPyConnection], T]
) -> T:
    """Return what is fetched of the query's result. Raises QueryError for a query that will not do."""

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
            raise QueryError(f"SQL: a value cannot be shown ({error}); make it text: CAST(… AS VARCHAR)") from error


def _refuse_what_is_no_text(query: str, parameters: Mapping[str, str]) -> None:
    """Raise QueryError for bytes of a command line that are not UTF-8: DuckDB has no words for them."""
    for what, text in (
        ("SQL: the query", query),
        *((f"--param {name}: the value", v) for name, v in parameters.items()),
    ):
        try:
            text.encode()
        except UnicodeError:
            raise QueryError(f"{what} is no text in UTF-8") from None


def _explained(error: duckdb.Error) -> QueryError:
    lines = [line for line in str(error).splitlines() if line.strip() != "^"]
    hint = ""
    if isinstance(error, duckdb.CatalogException):
        hint = next((f" ({text})" for name, text in _ABSENT.items() if f"name {name} does not exist" in lines[0]), "")
    # The error may quote what the API sent.
    text = printable(" ".join(" ".join(lines).split()), _LONGEST_ERROR)
    return QueryError(f"SQL: {text}{hint}")


def _decode_json(value: Any, is_json: bool) -> Any:
    return json.loads(value) if is_json and value is not None else value
