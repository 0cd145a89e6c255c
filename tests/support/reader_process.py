"""A reader in a process of its own, which reads until there is a file `stop`, and once more after it.

    python -m tests.support.reader_process KIND REST

Each reading opens what is published in `data`, runs several queries in that one connection, and closes it again. Which
snapshots there may be is in `snapshots.json`, in the order in which the runs load them, round and round. What a reading
has seen is printed as a line of JSON. Between two readings the reader rests REST times as long as the last one took of
a processor, so that many of them leave some of it for the runs, on any machine.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from tests.support.consistency import assert_answers_are_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Open = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]

LONGEST_REST_SECONDS = 2.0
WAREHOUSE = Path("data/warehouse.duckdb")
LAKE = Path("data/lake/famulor")
TABLES = ("sip_trunks", "sip_trunks_history", "sip_trunk_allowed_ips", "sip_trunk_snapshots")


@contextmanager
def file() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file as anybody does."""
    with duckdb.connect(WAREHOUSE, read_only=True, config={"threads": "1"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@contextmanager
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the lake as our own commands do."""
    from sip_trunks.core.settings import read_settings
    from sip_trunks.destinations import open_destination

    with open_destination(read_settings("parquet")).reading() as connection:
        yield connection


@contextmanager
def folder() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the lake as docs/destinations.md says: the link is resolved once, half of the tables are Arrow's to read."""
    import pyarrow.parquet as pq

    version = LAKE.resolve()
    with duckdb.connect(config={"threads": "1"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for place, name in enumerate(TABLES):
            if place % 2:
                connection.register(name, pq.read_table(version / name))
            else:
                connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{version / name}/*.parquet')")
        yield connection


KINDS: dict[str, Open] = {"file": file, "patient": file, "lake": lake, "folder": folder}


def read(connection: duckdb.DuckDBPyConnection, snapshots: list[list[dict[str, Any]]]) -> tuple[int, str]:
    """Return how many snapshots there have been and when the last one was, once every query agrees with it."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    query = "SELECT count(*), max(snapshot_at)::VARCHAR FROM sip_trunk_snapshots"
    ((count, latest),) = ask(query)
    assert assert_answers_are_whole(ask, *snapshots) == (count - 1) % len(snapshots)
    assert ask(query) == [(count, latest)], "the view has changed within one connection"
    return count, latest


def read_until_stopped(kind: str, rest: float) -> None:
    """Read, print and rest."""
    snapshots = json.loads(Path("snapshots.json").read_text("utf-8"))
    is_last = False
    with ExitStack() as until_the_end:
        # This one keeps its first connection.
        patient = until_the_end.enter_context(file()) if kind == "patient" else None
        while not is_last:
            is_last = Path("stop").exists()
            begin = time.process_time()
            with ExitStack() as for_this_reading:
                seen = read(patient or for_this_reading.enter_context(KINDS[kind]()), snapshots)
            print(json.dumps(seen), flush=True)
            time.sleep(0 if is_last else min(rest * (time.process_time() - begin), LONGEST_REST_SECONDS))


if __name__ == "__main__":
    read_until_stopped(sys.argv[1], float(sys.argv[2]))
