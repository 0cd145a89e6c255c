"""The check that SQL only reads, against the functions of the installed DuckDB."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import duckdb
import pytest

from sip_trunks.core.errors import QueryError
from sip_trunks.warehouse.read_only import refuse_all_but_queries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITES = "enable_profiling(format = 'json', save_location = '{}/x.json')"
"""A table function that writes a file when the next statement has ended."""


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection as that of a reader of a lake, which may use the files in its folder."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS FROM VALUES (1, 'é'), (2, 'b') AS t(a, b)")
        connection.execute(f"SET allowed_directories = ['{tmp_path}/']")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


@pytest.mark.parametrize(
    "query",
    [
        "FROM {}",
        "SELECT 'é(' AS é FROM t LEFT JOIN {} AS p ON true",
        "PIVOT (FROM t LEFT JOIN {} AS p ON true) ON b USING count(*)",
        "EXPLAIN ANALYZE FROM {}",
        "WITH x AS (FROM {}) FROM x",
        "FROM system.main.{}",
        "FROM t WHERE EXISTS (FROM {})",
        "FROM t, LATERAL (FROM {})",
        "DESCRIBE FROM {}",
        "SUMMARIZE FROM {}",
    ],
)
@pytest.mark.parametrize("spelling", ["{}", "ENABLE_{}", '"enable_profiling"{}', "enable_profiling /* ( */ -- (\n {}"])
def test_a_function_that_writes_files_is_refused_wherever_it_is_called(
    query: str, spelling: str, confined: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    called = WRITES.format(tmp_path)
    spelled = {"{}": called, "ENABLE_{}": called.replace("enable_profiling", "ENABLE_Profiling")}
    call = spelled.get(spelling, spelling.format(called.removeprefix("enable_profiling")))
    text = query.format(call)
    with pytest.raises(QueryError):
        refuse_all_but_queries(confined, text)
    # The query would write, if DuckDB accepts it.
    with suppress(duckdb.Error):
        confined.execute(text).fetchall()
        confined.execute("SELECT 1").fetchall()


@pytest.mark.parametrize(
    "query",
    [
        "FROM query('FROM enable_' || 'profiling()')",
        "FROM enable_logging(storage = 'file')",
        "FROM checkpoint()",
        "FROM force_checkpoint()",
        "FROM truncate_duckdb_logs()",
        "FROM json_execute_serialized_sql('{}')",
        "PRAGMA json_execute_serialized_sql('{}')",
        "PRAGMA import_database('.')",
        "PRAGMA copy_database('memory', 'other')",
        "PRAGMA enable_profiling",
        "PRAGMA enable_profiling = 'json'",
        "FROM glob('*')",
        "FROM sniff_csv('x.csv')",
        "CALL enable_logging()",
        "CALL pragma_version()",
        "CHECKPOINT",
        "LOAD json",
        "PREPARE q AS SELECT 1",
        "EXECUTE q",
        "SET VARIABLE x = 1",
        "RESET threads",
        "USE memory",
        "VACUUM",
        "EXPORT DATABASE 'x'",
        "IMPORT DATABASE 'x'",
        "DETACH memory",
        "BEGIN",
        "INSERT INTO t VALUES (3, 'c') RETURNING a",
        "MERGE INTO t USING t AS s USING (a) WHEN MATCHED THEN DELETE RETURNING a",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "TRUNCATE t",
    ],
)
def test_a_statement_that_does_more_than_read_is_refused(query: str, confined: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises((QueryError, duckdb.Error)):
        refuse_all_but_queries(confined, query)


def test_every_table_function_that_is_not_known_to_read_only_is_refused(confined: duckdb.DuckDBPyConnection) -> None:
    """A new release of DuckDB brings new ones."""
    names = confined.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table' "
        r"AND function_name NOT SIMILAR TO 'duckdb_.*|pragma_.*|parquet_.*|read_.*'"
    ).fetchall()
    accepted = set()
    for (name,) in names:
        with suppress(QueryError, duckdb.Error):
            refuse_all_but_queries(confined, f"FROM {name}()")
            accepted.add(name)
    assert accepted == {
        "generate_series",
        "json_each",
        "json_tree",
        "range",
        "repeat",
        "repeat_row",
        "summary",
        "unnest",
    }


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*), upper(b), 'enable_profiling()' FROM t GROUP BY b",
        'SELECT a AS "enable_profiling" FROM t WHERE a IN (1, 2)',
        "SELECT enable_profiling.a FROM t AS enable_profiling",
        "FROM range(3)",
        "FROM t, unnest([1, 2])",
        "FROM duckdb_tables()",
        "PRAGMA table_info('t')",
        "FROM pragma_table_info('t')",
        "SELECT version()",
    ],
)
def test_a_query_that_reads_is_accepted(query: str, confined: duckdb.DuckDBPyConnection) -> None:
    refuse_all_but_queries(confined, query)
    confined.execute(query).fetchall()
