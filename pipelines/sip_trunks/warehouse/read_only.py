"""The check that a user's SQL is a single query that only reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sip_trunks.core.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Collection

    import duckdb


# EXPLAIN ANALYZE executes its statement, so that statement is checked. Comments may precede EXPLAIN.
_EXPLAIN = re.compile(r"^((?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*)EXPLAIN(\s+ANALYZE)?\s", flags=re.IGNORECASE)


def refuse_all_but_queries(connection: duckdb.DuckDBPyConnection, query: str, given: Collection[str] = ()) -> None:
    """Raise QueryError unless the text is one query, or EXPLAIN and one query, and `given` has its parameters."""
    from duckdb import StatementType

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
