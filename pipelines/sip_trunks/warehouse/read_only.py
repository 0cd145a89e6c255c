"""The check that a user's SQL is a single query that only reads."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from sip_trunks.core.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Collection

    import duckdb


_HARMLESS = {"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "summary", "table_info"}
_HARMLESS |= {"unnest", "version"}
# Frequent names, which are no table functions, need no look-up.
_HARMLESS |= {"any_value", "arg_max", "arg_min", "avg", "coalesce", "count", "date_trunc", "exists", "filter", "in"}
_HARMLESS |= {"len", "lower", "max", "min", "over", "replace", "round", "row_number", "strftime", "sum", "values"}
_HARMLESS_KINDS = ("duckdb_", "parquet_", "pragma_", "read_")
"""Table functions that only read; `enable_profiling` and others write files, and `query` runs any text."""
_NAME = re.compile(r'"((?:[^"]|"")+)"|\w+')

# EXPLAIN ANALYZE executes its statement, so that statement is checked. Comments may precede EXPLAIN.
_EXPLAIN = re.compile(r"^((?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*)EXPLAIN(\s+ANALYZE)?\s", flags=re.IGNORECASE)


def refuse_all_but_queries(connection: duckdb.DuckDBPyConnection, query: str, given: Collection[str] = ()) -> None:
    """Raise QueryError unless the text is one query, or EXPLAIN and one query, and `given` has its parameters."""
    from duckdb import StatementType

    _refuse_table_functions(connection, query)
    explained = _EXPLAIN.sub(r"\1", query)
    statements = connection.extract_statements(explained)

    # DuckDB splits a PIVOT without values into several statements: one CREATE TYPE without text per column, which users
    # cannot write, and then the query. EXPLAIN does not work for them.
    def is_made_for_pivot(statement: duckdb.Statement) -> bool:
        return statement.type == StatementType.CREATE and not statement.query

    while explained == query and len(statements) > 1 and is_made_for_pivot(statements[0]):
        del statements[0]
    if len(statements) != 1:
        raise QueryError("SQL: expected one statement")
    if statements[0].type != StatementType.SELECT:
        raise QueryError(f"SQL: expected a query, got {statements[0].type.name}; stored data is read-only")
    needed = set(statements[0].named_parameters)
    missing, unused = sorted(needed.difference(given)), sorted(set(given) - needed)
    if missing and missing[0].isdecimal():
        raise QueryError("SQL: parameters need names, such as $country instead of ? or $1: --param country=DE")
    if missing:
        raise QueryError(f"SQL: the query has ${missing[0]}; give it a value: --param {missing[0]}=…")
    if unused:
        raise QueryError(f"--param {unused[0]}: the query has no ${unused[0]}")


def _refuse_table_functions(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise QueryError if the query calls a table function, or a pragma, that may do more than read.

    DuckDB cannot describe every statement as a tree, so this searches the tokens for names before a parenthesis.
    """
    import duckdb

    text = query.encode()
    tokens = pairwise(start for start, _ in duckdb.tokenize(query))
    names = [_NAME.match(text[start:end].decode()) for start, end in tokens if text[end : end + 1] == b"("]
    called = {(name[1] or name[0]).lower() for name in names if name}
    doubtful = {name for name in called - _HARMLESS if not name.startswith(_HARMLESS_KINDS)}
    if not doubtful:
        return
    functions = connection.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'pragma')"
    ).fetchall()
    if refused := doubtful & {name for (name,) in functions}:
        raise QueryError(f"SQL: {min(refused)}(…) may do more than read; stored data is read-only")
