"""Run a query on the stored data."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import duckdb

from sip_trunks.core.errors import QueryError
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination
from sip_trunks.warehouse.read_only import refuse_all_but_queries
from sip_trunks.warehouse.sql import find_tables
from trunk_transforms.schema.findings import CURRENT_FINDINGS
from trunk_transforms.schema.reports import ACCOUNT_RUNS, RUNS
from trunk_transforms.text import printable

T = TypeVar("T")

_LONGEST_ERROR = 2_000
_CHUNK = 10_000
_ABSENT = {
    CURRENT_FINDINGS.name: "findings exists if the last run with new data wrote reports",
    ACCOUNT_RUNS.name: "account_runs exists after the first run of this release; servers do not have it",
    RUNS.name: "runs exists after the first run of this release; servers do not have it, state/runs.jsonl has the runs",
}


def read_rows(
    settings: Settings, query: str, parameters: Mapping[str, str], *, format_name: str, most: int | None = None
) -> tuple[Sequence[str], Sequence[Sequence[Any]], int]:
    """Return the columns of a query on the published data, at most `most` of its rows, and the number of all rows.

    In JSON, columns of type JSON are objects. Raises QueryError.
    """

    def fetch(result: duckdb.DuckDBPyConnection) -> tuple[Sequence[str], Sequence[Sequence[Any]], int]:
        described = result.description or ()
        rows = result.fetchall() if most is None else result.fetchmany(most)
        count = len(rows)
        # Rows that are only counted are not kept in memory.
        while most is not None and (more := len(result.fetchmany(_CHUNK))):
            count += more
        if format_name == "json":
            is_json = [str(column[1]) == "JSON" for column in described]
            rows = [tuple(map(_decode_json, row, is_json)) for row in rows]
        return [column[0] for column in described], rows, count

    return run_query(settings, query, parameters, fetch)


def run_query(
    settings: Settings, query: str, parameters: Mapping[str, str], fetch: Callable[[duckdb.DuckDBPyConnection], T]
) -> T:
    """Return the value that `fetch` gets from the result of a query. Raises QueryError if the query fails."""

    def work() -> T:
        refuse_all_but_queries(connection, query, parameters)
        # DuckDB imports pandas to bind parameters, so a query without parameters passes none.
        return fetch(connection.execute(query, parameters) if parameters else connection.execute(query))

    _check_encoding(query, parameters)
    with open_destination(settings).reading(find_tables(query)) as connection, ThreadPoolExecutor(1) as thread:
        # The query runs in another thread so that this one notices Ctrl-C.
        working = thread.submit(work)
        try:
            return working.result()
        except KeyboardInterrupt:
            # DuckDB ignores an interruption before the query has started, so repeat it.
            while not working.done():
                connection.interrupt()
                wait([working], timeout=0.1)
            raise
        except duckdb.Error as error:
            raise _explained(error) from error
        except (OverflowError, RecursionError) as error:
            raise QueryError(f"SQL: a value cannot be shown ({error}); make it text: CAST(… AS VARCHAR)") from error


def _check_encoding(query: str, parameters: Mapping[str, str]) -> None:
    """Raise QueryError for bytes of a command line that are not UTF-8, which DuckDB does not accept."""
    texts = {"SQL: the query": query} | {f"--param {name}: the value": value for name, value in parameters.items()}
    for name, text in texts.items():
        try:
            text.encode()
        except UnicodeError:
            raise QueryError(f"{name} is not valid UTF-8") from None


def _explained(error: duckdb.Error) -> QueryError:
    lines = [line for line in str(error).splitlines() if line.strip() != "^"]
    hint = ""
    if isinstance(error, duckdb.CatalogException):
        hint = next((f" ({text})" for name, text in _ABSENT.items() if f"name {name} does not exist" in lines[0]), "")
    # The error can quote text from the API.
    text = printable(" ".join(" ".join(lines).split()), _LONGEST_ERROR)
    return QueryError(f"SQL: {text}{hint}")


def _decode_json(value: Any, is_json: bool) -> Any:
    return json.loads(value) if is_json and value is not None else value
