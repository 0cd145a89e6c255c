"""Long sequences of snapshots: history is the same on every destination, in its files, and in SQL."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow.dataset import dataset
from pyarrow.parquet import read_schema

from sip_trunks.core.settings import Account, read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.formats import frame_rows
from sip_trunks.run.run import run
from sip_trunks.warehouse.frames import read_changes, read_trunks
from tests.support.histories import VERSION_COLUMNS, derive_history, some_trunks
from tests.support.runs import TOKEN
from trunk_transforms.schema.reports import CHANGES

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tests.support.api import Api

SEQUENCES = 10
SNAPSHOTS = 6
COMPARED = 3
ACCOUNTS = ("acme", "beta")
ALL_ACCOUNTS = [Account(name, f"{TOKEN}-{name}") for name in ACCOUNTS]


def stored(table: str, destination: str, columns: str = "* EXCLUDE (_dlt_load_id)") -> list[tuple[Any, ...]]:
    with open_destination(read_settings(destination)).reading() as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()


def closed_versions(destination: str) -> set[tuple[Any, ...]]:
    versions = stored("sip_trunks_history", destination, "account, id, row_version, valid_from, valid_to")
    return {version for version in versions if version[-1] is not None}


def load_sequence(api: Api, rng: random.Random, destinations: tuple[str, ...]) -> dict[str, list[Any]]:
    """Load the same sequence of responses everywhere and return the moments of the runs by destination.

    Of two accounts, one or both change from edition to edition; now and then a response comes twice.
    """
    responses: dict[str, list[dict[str, Any]]] = {}
    moments: dict[str, list[Any]] = {destination: [] for destination in destinations}
    closed: dict[str, set[tuple[Any, ...]]] = {destination: set() for destination in destinations}
    for edition in range(SNAPSHOTS):
        asked = sorted(rng.sample(ACCOUNTS, rng.choice((1, 1, 2))))
        responses |= {name: some_trunks(rng, edition) for name in asked if name not in responses or rng.random() < 0.8}
        for name in asked:
            api.answer_to(f"{TOKEN}-{name}", responses[name])
        repeat = rng.choice((1, 1, 2))
        for destination in destinations:
            for _ in range(repeat):
                accounts = [account for account in ALL_ACCOUNTS if account.name in asked]
                settings = replace(read_settings(destination), accounts=tuple(ALL_ACCOUNTS))
                outcome = run(settings, accounts, accept_shrink=True, with_reports=False)
                assert outcome.exit_code == 0
                moments[destination].append(outcome.snapshot_at)
            now_closed = closed_versions(destination)
            assert closed[destination] <= now_closed, "a closed version has changed"
            closed[destination] = now_closed
    return moments


def assert_same_history(moments: dict[str, list[Any]]) -> None:
    """Assert that destinations that were loaded one after the other have the same versions.

    Their moments are compared by their number.
    """
    versions, current = {}, {}
    for destination, seen in moments.items():
        number: dict[Any, int | None] = {moment: number for number, moment in enumerate(seen)} | {None: None}
        rows = stored("sip_trunks_history", destination, VERSION_COLUMNS)
        versions[destination] = sorted(((*row[:-2], number[row[-2]], number[row[-1]]) for row in rows), key=repr)
        current[destination] = [stored(table, destination) for table in ("sip_trunks", "sip_trunk_allowed_ips")]
    expected, *others = moments
    assert len(versions[expected]) > 8
    for destination in others:
        assert versions[destination] == versions[expected], destination
        assert current[destination] == current[expected], destination


def assert_sql_agrees(destination: str, rng: random.Random) -> None:
    """Assert that views and macros say what the reports say, and that changes lead from one state to the other."""
    with open_destination(read_settings(destination)).reading() as connection:

        def said(query: str) -> list[tuple[Any, ...]]:
            rows = connection.execute(f"SELECT {', '.join(CHANGES.names)} FROM {query}").fetchall()
            return sorted(rows, key=lambda row: list(map(str, row)))

        def derived(since: Any, as_of: Any, *, is_log: bool) -> list[tuple[Any, ...]]:
            changes = read_changes(connection, since, as_of, is_log=is_log)
            return sorted(map(tuple, frame_rows(changes)), key=lambda row: list(map(str, row)))

        def state(moment: Any) -> dict[tuple[str, int], tuple[str, str]]:
            known = read_trunks(connection, ["account", "id", "row_version", "country_code"], moment)
            rows = frame_rows(known)
            query = f"SELECT account, id, row_version, country_code FROM trunks_as_of('{moment}')"
            assert sorted(connection.execute(query).fetchall()) == sorted(map(tuple, rows))
            return {(account, number): (version, country) for account, number, version, country in rows}

        seen = connection.execute("SELECT account, min(snapshot_at) FROM sip_trunk_snapshots GROUP BY ALL").fetchall()
        moments = [
            moment
            for (moment,) in connection.execute("SELECT snapshot_at FROM sip_trunk_snapshots ORDER BY ALL").fetchall()
        ]
        begin, end = moments[0] - timedelta(days=1), moments[-1]
        assert said("sip_trunk_changes") == derived(begin, end, is_log=True) == derived(None, end, is_log=True) != []
        pairs = [*combinations(dict.fromkeys([begin, *moments]), 2)]
        for since, as_of in rng.sample(pairs, min(COMPARED, len(pairs))):
            changes = derived(since, as_of, is_log=False)
            assert said(f"changes_between('{since}', '{as_of}')") == changes, (since, as_of)
            after = state(as_of)
            before = state(since)
            for account, first in seen:  # an account that was not known yet is compared with its first snapshot
                if since < first <= as_of:
                    before |= {key: value for key, value in state(first).items() if key[0] == account}
            found = {(row[0], row[1]): row[2] for row in changes}
            assert {key for key, kind in found.items() if kind == "added"} == after.keys() - before.keys()
            assert {key for key, kind in found.items() if kind == "removed"} == before.keys() - after.keys()
            moved = {key: (before[key][1], after[key][1]) for key in before.keys() & after.keys()}
            assert {(row[0], row[1]): (row[4], row[5]) for row in changes if row[3] == "country_code"} == {
                key: countries for key, countries in moved.items() if len(set(countries)) > 1
            }


def files_of(table: str) -> pa.Table:
    """Return a table of the lake as its files have it; the newest of them has all columns."""
    files = sorted((read_settings().data_dir / "lake" / "famulor" / table).rglob("*.parquet"))
    return dataset(files, schema=read_schema(files[-1])).to_table()


def rows_of(table: pa.Table, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return sorted(zip(*(table[name].to_pylist() for name in columns), strict=True), key=repr)


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_file_and_lake_keep_the_same_versions(seed: int, api: Api, place: Path) -> None:
    """Only random sequences find an order of changes that one way of merging gets wrong."""
    rng = random.Random(seed)
    assert_same_history(load_sequence(api, rng, ("duckdb", "parquet")))
    for destination in ("duckdb", "parquet"):
        assert_sql_agrees(destination, rng)
    # The full snapshots of the lake alone show the same history.
    derived = derive_history(files_of("sip_trunk_snapshot_rows"), files_of("sip_trunk_snapshots"))
    columns = tuple(name for name in derived.column_names if name != "_dlt_load_id")
    assert rows_of(derived, columns) == rows_of(files_of("sip_trunks_history"), columns)
    assert {"valid_from", "valid_to", "country_code"} <= set(columns)


@pytest.mark.parametrize("seed", range(100, 100 + SEQUENCES))
def test_the_server_keeps_the_same_versions_as_the_file(
    seed: int, api: Api, place: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above; here the database merges, and not this project."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    rng = random.Random(seed)
    assert_same_history(load_sequence(api, rng, ("duckdb", "postgres")))
    assert_sql_agrees("postgres", rng)
