"""History is the same everywhere: what a database merges, what a lake derives, what the snapshots alone show."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow.dataset import dataset
from pyarrow.parquet import read_schema

from pipelines.destination import open_destination
from pipelines.frames import read_delivered, read_looks, read_trunks, read_versions
from pipelines.load import run
from pipelines.settings import Account, pick_accounts, read_settings
from pipelines.show import frame_rows
from tests.builders import trunk
from transforms import schema
from transforms.changes import derive_changes, log_changes
from transforms.history import derive_history
from transforms.report_schema import CHANGES

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from tests.conftest import Api

SEQUENCES = 2
SNAPSHOTS = 5
COMPARED = 3
_VERSIONS = ", ".join(
    [*(column.name for column in schema.SIP_TRUNKS.columns if column.source != "dlt"), "valid_from", "valid_to"]
)
IPS = ("203.0.113.10", "198.51.100.20", "192.0.2.7", "203.0.113.10")


def some_trunks(rng: random.Random, edition: int) -> list[dict[str, Any]]:
    """Return trunks that come and go, change, are spelt differently, and get and lose fields, declared or not."""
    made = [
        trunk(
            id=id_,
            country_code=rng.choice(("US", "DE")),
            updated_at=f"2026-03-0{rng.randint(1, 3)}T10:00:00Z",
            allowed_inbound_ips=rng.choice((None, [], rng.sample(IPS, 3))),
            **({"codec": rng.choice((None, "opus", {"name": "g711"}))} if edition > 2 else {}),
        )
        for id_ in rng.sample(range(12), rng.choice((0, 8, 9, 12)))
    ]
    if edition == 1:
        for record in made:
            del record["sip_username"]
    return made


def stored(table: str, destination: str, columns: str = "* EXCLUDE (_dlt_load_id)") -> list[tuple[Any, ...]]:
    with open_destination(read_settings(destination)).reading() as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()


def assert_sql_agrees(destination: str, rng: random.Random) -> None:
    """Assert that the views and macros on changes say what the transforms say, between any two moments."""
    with open_destination(read_settings(destination)).reading() as connection:

        def said(query: str) -> list[tuple[Any, ...]]:
            return sorted(
                connection.execute(f"SELECT {', '.join(CHANGES.names)} FROM {query}").fetchall(),
                key=lambda row: list(map(str, row)),
            )

        def derived(changes: pd.DataFrame) -> list[tuple[Any, ...]]:
            return sorted(map(tuple, frame_rows(changes)), key=lambda row: list(map(str, row)))

        moments = [
            moment
            for (moment,) in connection.execute("SELECT snapshot_at FROM sip_trunk_snapshots ORDER BY ALL").fetchall()
        ]
        begin, as_of = moments[0] - timedelta(days=1), moments[-1]
        looks, drift = read_looks(connection, as_of), read_delivered(connection, as_of)
        whole = read_versions(connection, begin, as_of), looks, drift
        assert said("sip_trunk_changes") == derived(log_changes(*whole, since=begin, as_of=as_of)) != []
        for since, as_of in rng.sample([*combinations([begin, *moments], 2)], COMPARED):
            looks, drift = read_looks(connection, as_of), read_delivered(connection, as_of)
            changes = derive_changes(read_versions(connection, since, as_of), looks, drift, since=since, as_of=as_of)
            assert said(f"changes_between('{since}', '{as_of}')") == derived(changes), (since, as_of)
            state = connection.execute(f"SELECT account, id, row_version FROM trunks_as_of('{as_of}')").fetchall()
            known = read_trunks(connection, ["account", "id", "row_version"], as_of)
            assert sorted(state) == sorted(map(tuple, frame_rows(known)))


def files_of(table: str) -> pa.Table:
    """Return a table of the lake as its files have it; the newest of them has all columns."""
    files = sorted((read_settings().data_dir / "lake" / "famulor" / table).rglob("*.parquet"))
    return dataset(files, schema=read_schema(files[-1])).to_table()


def rows_of(table: pa.Table, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return sorted(zip(*(table[name].to_pylist() for name in columns), strict=True), key=repr)


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_every_destination_keeps_the_same_versions(seed: int, api: Api, place: Path) -> None:
    rng = random.Random(seed)
    moments: dict[str, list[Any]] = {"duckdb": [], "parquet": []}
    for edition in range(SNAPSHOTS):
        name = rng.choice(("acme", "beta"))
        api.answer(some_trunks(rng, edition))
        repeat = rng.choice((1, 1, 2))
        for destination in ("duckdb", "parquet"):
            for _ in range(repeat):
                account = Account(name, pick_accounts(read_settings(), [])[0].token)
                outcome = run(read_settings(destination), [account], accept_shrink=True, with_reports=False)
                assert outcome.exit_code == 0
                moments[destination].append(outcome.snapshot_at)

    # Both saw the same answers, one a moment after the other: their moments are compared by their number.
    order = {d: {moment: number for number, moment in enumerate(seen)} | {None: None} for d, seen in moments.items()}
    versions = {
        d: sorted(
            ((row[:-2], order[d][row[-2]], order[d][row[-1]]) for row in stored("sip_trunks_history", d, _VERSIONS)),
            key=repr,
        )
        for d in order
    }
    assert versions["parquet"] == versions["duckdb"]
    assert len(versions["duckdb"]) > 8
    for table in ("sip_trunks", "sip_trunk_allowed_ips"):
        assert stored(table, "parquet") == stored(table, "duckdb")
    for destination in order:
        assert_sql_agrees(destination, rng)

    derived = derive_history(files_of("sip_trunk_snapshot_rows"), files_of("sip_trunk_snapshots"))
    columns = tuple(name for name in derived.column_names if name != "_dlt_load_id")
    assert rows_of(derived, columns) == rows_of(files_of("sip_trunks_history"), columns)
    assert {"valid_from", "valid_to", "country_code"} <= set(columns)
