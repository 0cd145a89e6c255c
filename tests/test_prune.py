"""The command `prune`: what is old goes, and everything that is later is told as before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipelines import frames
from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.lock import holding_lock
from pipelines.retention import drops_before, rewrite
from pipelines.settings import read_settings
from tests.builders import ABSENT, IP_TRUNK, trunk
from tests.past import store
from transforms.freshness import derive_freshness
from transforms.growth import derive_growth

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Api

    Trunks = list[dict[str, Any]]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(day: float) -> datetime:
    return NOON + timedelta(days=day)


FIRST: Trunks = [trunk(id=1), trunk(id=2), trunk(id=3), IP_TRUNK | {"id": 4}]
SECOND: Trunks = [trunk(id=1, country_code="DE"), trunk(id=3, nickname="Front"), IP_TRUNK | {"id": 4}]
THIRD: Trunks = [trunk(id=1, country_code="DE"), trunk(id=3, nickname="Back", country_code="FR"), trunk(id=5)]
LAST: Trunks = [trunk(id=1, country_code="FR"), trunk(id=3, nickname="Back", country_code="FR"), trunk(id=2)]
STORY = [
    ("acme", at(0), FIRST),
    ("idle", at(0), FIRST),
    ("left", at(0), FIRST),
    ("acme", at(0.1), FIRST),
    ("left", at(0.2), SECOND),  # and never seen again
    ("acme", at(1), SECOND),
    ("idle", at(1), FIRST),
    ("acme", at(2), SECOND),
    ("idle", at(2), FIRST),
    ("acme", at(2.25), SECOND),
    ("acme", at(4), [record | {"country_code": ABSENT} for record in THIRD]),
    ("acme", at(4.1), THIRD),
    ("idle", at(4.1), FIRST),
    ("acme", at(5), LAST),
    ("new", at(5), FIRST),
]
STORY = [(name, when, [trunk(**record) for record in trunks]) for name, when, trunks in STORY]
MOMENTS = [at(day) for day in (0, 0.05, 1.5, 2.3, 3, 3.5, 4, 4.05, 4.5, 5, 6)]
LIMITS = (at(3), at(4.05))


def tell(settings: Any, limit: datetime) -> list[Any]:
    """Return everything that can be asked of moments from the limit on."""
    later = [moment for moment in MOMENTS if moment >= limit]
    with open_destination(settings).reading() as connection:

        def ask(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()

        drift = "SELECT * EXCLUDE (first_seen_at) FROM drift WHERE last_seen_at >= "
        looks, lifetimes = frames.read_looks(connection, at(9)), frames.read_lifetimes(connection, at(9))
        growth = derive_growth(lifetimes, looks, as_of=at(9), period="day")
        is_later = growth["period"].astype(str) > f"{limit:%Y-%m-%d}"
        counted = ["account", "period", "trunk_count", "snapshot_count", "vanished_count"]
        fresh = derive_freshness(looks, as_of=at(9))[["account", "snapshot_at", "age_seconds", "trunk_count"]]
        return [
            *(ask(f"FROM trunks_as_of('{moment}') ORDER BY account, id") for moment in later),
            *(
                ask(f"FROM changes_between('{since}', '{until}') ORDER BY ALL")
                for since in later
                for until in later
                if since < until
            ),
            ask(f"FROM sip_trunk_changes WHERE observed_at > '{limit}' ORDER BY ALL"),
            ask(f"{drift} '{limit}' ORDER BY ALL"),
            ask(f"FROM sip_trunk_snapshots WHERE snapshot_at > '{limit}' ORDER BY ALL"),
            *(ask(f"FROM {table} ORDER BY ALL") for table in ("sip_trunks", "sip_trunk_allowed_ips")),
            growth.loc[is_later, counted].to_dict("records"),
            fresh.to_dict("records"),
        ]


def drop_before(settings: Any, limit: datetime) -> dict[str, int]:
    destination = open_destination(settings)
    with holding_lock(settings):
        with destination.reading() as connection:
            drops = drops_before(connection, limit)
        return rewrite(settings, destination, drops)


def ask(query: str) -> list[tuple[Any, ...]]:
    with open_destination(read_settings()).reading() as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
def test_what_is_asked_of_moments_after_the_limit_is_answered_as_before(
    destination: str, api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    settings = read_settings()
    store(settings, STORY, with_reports=True)
    for limit in LIMITS:
        before = tell(settings, limit)
        drop_before(settings, limit)
        assert [*map(str, tell(settings, limit))] == [*map(str, before)]
        assert ask(f"SELECT count(*) FROM sip_trunks_history WHERE valid_to <= '{limit}'") == [(0,)]
        assert not any(drop_before(settings, limit).values())
    looks = ask("SELECT account, snapshot_at FROM sip_trunk_snapshots ORDER BY ALL")
    assert [(name, round((when - NOON) / timedelta(days=1), 2)) for name, when in looks] == [
        ("acme", 4), ("acme", 4.1), ("acme", 5), ("idle", 2), ("idle", 4.1), ("left", 0.2), ("new", 5),
    ]  # fmt: skip


def test_of_the_time_before_nothing_is_told(api: Api, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_settings()
    store(settings, STORY)
    drop_before(settings, at(3))
    # Versions that were there for longer say nothing of what was there beside them.
    assert ask("SELECT min(valid_from) FROM sip_trunks_history WHERE account = 'acme'") == [(at(0),)]
    assert ask(f"SELECT count(*) FROM trunks_as_of('{at(1.5)}') WHERE account IN ('acme', 'idle')") == [(0,)]
    assert {name for (name,) in ask(f"SELECT account FROM trunks_as_of('{at(2.1)}')")} == {"idle", "left"}
    assert main(["report", "--as-of", "2026-03-01T12:30Z"]) == 2
    assert "the first snapshot is of 2026-03-01T16:48" in capsys.readouterr().err
    assert main(["export", "--as-of", at(2.1).isoformat(), "--output", "copy", "--format", "csv"]) == 0
    assert "acme" not in (place / "copy" / "sip_trunks_history.csv").read_text()


def test_full_snapshots_of_days_that_are_over_become_one_file_a_day(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    store(read_settings(), STORY)
    lake = place / "data" / "lake"
    every = "FROM sip_trunk_snapshot_rows ORDER BY ALL"

    def names() -> list[str]:
        return sorted(path.name for path in (lake / "famulor" / "sip_trunk_snapshot_rows").rglob("*.parquet"))

    rows, files = ask(every), names()
    assert main(["prune"]) == 0
    assert "files      2 fewer would do" in capsys.readouterr().out
    assert names() == files
    with open_destination(read_settings()).reading() as reader:
        assert main(["prune", "--yes"]) == 0
        assert reader.execute(every).fetchall() == rows
    assert ask(every) == rows
    assert len(names()) == len(files) - 2
    assert set(names()) < set(files)
    assert main(["prune"]) == 0
    assert "fewer" not in capsys.readouterr().out


def test_it_is_shown_first_what_would_go(api: Api, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(read_settings(), STORY)
    file = place / "data" / "warehouse.duckdb"
    before = file.read_bytes()
    days = (datetime.now(UTC) - at(3)) / timedelta(days=1)
    assert main(["prune", "--older-than", f"{days:.3f}d"]) == 0
    shown = capsys.readouterr().out
    assert "sip_trunks_history" in shown
    assert "--yes" in shown
    assert file.read_bytes() == before
    assert main(["prune", "--older-than", f"{days:.3f}d", "--yes"]) == 0
    dropped = capsys.readouterr().out
    table = [line.split() for line in shown.splitlines() if line.startswith("s") and "_" in line]
    assert table == [line.split() for line in dropped.splitlines() if line.startswith("s") and "_" in line]
    for wrong in ("400", "0d", "soon"):
        assert main(["prune", "--older-than", wrong]) == 2
    assert main(["prune", "--older-than", "999999999d"]) == 2
    assert main(["status", "--json"]) == 0
    capsys.readouterr()


def test_there_is_nothing_to_prune_before_the_first_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--older-than", "400d", "--yes"]) == 2
    assert "nothing is stored yet" in capsys.readouterr().err
