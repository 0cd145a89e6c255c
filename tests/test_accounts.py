"""The command `accounts`, and that nothing is left of an account that is to be forgotten."""

from __future__ import annotations

import json
import os
import pty
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.destination import open_destination
from pipelines.load import run
from pipelines.lock import holding_lock
from pipelines.retention import drops_of
from pipelines.settings import Account, pick_accounts, read_settings
from tests.builders import IP_TRUNK, trunk
from tests.consistency import assert_answers_are_whole

if TYPE_CHECKING:
    from tests.conftest import Api

NUMBER, OTHER = "+49305550177", "+49305550188"
GONE = [IP_TRUNK | {"id": 1, "phone_number": NUMBER, "sip_username": "forget-me"}]
KEPT = [IP_TRUNK | {"id": 2, "phone_number": OTHER}, trunk(id=3)]
DESTINATIONS = ("duckdb", "parquet", pytest.param("delta", marks=pytest.mark.slow))


@pytest.fixture
def destination(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `--destination` calls it; Delta is a form of the lake."""
    if request.param == "delta":
        monkeypatch.setenv("SIP_TRUNKS__TABLE_FORMAT", "delta")
    name = "duckdb" if request.param == "duckdb" else "parquet"
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", name)
    return name


everywhere = pytest.mark.parametrize("destination", DESTINATIONS, indirect=True)


def load(api: Api, account: str, trunks: list[dict[str, object]], *, with_reports: bool = False) -> None:
    api.answer(trunks)
    settings = read_settings()
    token = pick_accounts(settings, [])[0].token
    outcome = run(settings, [Account(account, token)], accept_shrink=True, with_reports=with_reports)
    assert outcome.exit_code == 0


def ask(query: str) -> list[tuple[object, ...]]:
    with open_destination(read_settings()).reading() as connection:
        return connection.execute(query).fetchall()


def files_with(text: str) -> set[str]:
    """Return the names of the files of the data directory that have a text in them, compressed or not."""
    found = set()
    for path in Path("data").rglob("*"):
        if path.is_file() and (
            text in str(pq.ParquetFile(path).read().to_pylist())
            if path.suffix == ".parquet"
            else text.encode() in path.read_bytes()
        ):
            found.add(path.name)
    return found


# ---------------------------------------------------------------------- which there are


def test_accounts_are_listed_that_are_configured_or_stored(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["accounts"]) == 0
    assert capsys.readouterr().out.split()[7:10] == ["default", "true", "false"]
    load(api, "wanderer", GONE)
    for name, token in (("ACME", "t0ken-of-two"), ("BETA", "t0ken-of-two")):
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name}", token)
    capsys.readouterr()
    assert main(["accounts", "--json"]) == 0
    out = capsys.readouterr().out
    assert "t0ken" not in out
    listed = json.loads(out)
    assert [[row["account"], row["is_configured"], row["is_stored"], row["same_token_as"]] for row in listed] == [
        ["acme", True, False, "beta"],
        ["beta", True, False, "acme"],
        ["wanderer", False, True, None],
    ]
    assert listed[2]["first_seen_at"] == listed[2]["last_seen_at"] != None  # noqa: E711
    assert listed[2]["trunk_count"] == 1


# ---------------------------------------------------------------------- forgotten


@everywhere
def test_of_a_forgotten_account_nothing_is_left_and_of_the_others_everything(
    destination: str, api: Api, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_reported = read_settings().table_format == "parquet"
    load(api, "wanderer", GONE)
    if is_reported:
        load(api, "kept", KEPT[1:])
        load(api, "wanderer", [trunk(id=9)])  # the number is history now
    load(api, "kept", KEPT, with_reports=is_reported)
    assert files_with(NUMBER)
    assert files_with("wanderer")
    capsys.readouterr()
    assert main(["accounts", "forget", "wanderer", "--yes"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "sip_trunks_history" in said.out
    assert "backups" in said.out
    assert files_with(NUMBER) == files_with("forget-me") == set()
    assert files_with("wanderer") <= {"sip-trunks.log"}
    assert files_with(OTHER)
    assert ask("SELECT DISTINCT account FROM sip_trunks_history") == [("kept",)]
    assert_answers_are_whole(ask, KEPT)
    if is_reported:
        assert ask("SELECT count(*) FROM sip_trunk_snapshots") == [(2,)]
        load(api, "kept", KEPT[:1])
        assert_answers_are_whole(ask, KEPT[:1])
    assert main(["accounts", "forget", "wanderer", "--yes"]) == 2
    assert "stored: kept" in capsys.readouterr().err


@pytest.mark.parametrize("destination", ["duckdb", "parquet"], indirect=True)
def test_the_only_account_can_be_forgotten_and_begun_anew(
    destination: str, api: Api, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(api, "default", KEPT)
    assert main(["export", "--output", "copy"]) == 0
    load(api, "default", GONE)
    capsys.readouterr()
    assert main(["accounts", "forget", "default", "--yes"]) == 0
    assert "default is still configured" in capsys.readouterr().err
    assert files_with(NUMBER) == set()
    assert main(["status", "--json"]) == 0
    (account,) = json.loads(capsys.readouterr().out)["accounts"]
    assert account["snapshot_at"] is None
    assert ask("SELECT count(*) FROM sip_trunks") == [(0,)]
    assert main(["import", "copy"]) == 0
    assert_answers_are_whole(ask, KEPT)
    load(api, "default", GONE)
    assert_answers_are_whole(ask, GONE)


@pytest.mark.parametrize("destination", ["duckdb", "parquet"], indirect=True)
def test_one_who_dies_while_forgetting_has_changed_nothing(destination: str, api: Api, place: Path) -> None:
    load(api, "default", GONE)
    here = open_destination(read_settings())
    with ExitStack() as stack:
        rewritten = stack.enter_context(here.rewriting(drops_of("default").tables, datetime.now(UTC)))
        assert rewritten.dropped_counts["sip_trunks"] == 1
        stack.pop_all()  # nothing is ended in good order
    assert_answers_are_whole(ask, GONE)
    load(api, "default", KEPT)
    assert_answers_are_whole(ask, KEPT)
    assert not files_with("none-such")  # all of them can be read


@pytest.mark.slow
def test_delta_tables_that_somebody_has_set_aside_who_died_are_put_back(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__TABLE_FORMAT", "delta")
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", "parquet")
    load(api, "default", GONE)
    folder = place / "data" / "lake" / "famulor_delta"
    folder.rename(folder.with_suffix(".before"))
    (folder / "sip_trunks").mkdir(parents=True)
    assert open_destination(read_settings()).is_work_pending()
    load(api, "default", [*GONE, *KEPT])
    assert_answers_are_whole(ask, [*GONE, *KEPT])
    assert ask("SELECT count(*) FROM sip_trunk_snapshots") == [(2,)]


def test_forgetting_needs_the_account_to_itself(api: Api, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(api, "default", GONE)
    with holding_lock(read_settings()):
        assert main(["accounts", "forget", "default", "--yes"]) == 6
    assert ask("SELECT count(*) FROM sip_trunks") == [(1,)]


def test_forgetting_asks_for_the_name(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load(api, "default", GONE)
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert main(["accounts", "forget", "default"]) == 2
    assert "--yes" in capsys.readouterr().err
    keyboard, terminal = pty.openpty()
    with open(terminal) as shell:  # noqa: PTH123 - it is none of a path
        monkeypatch.setattr(sys, "stdin", shell)
        os.write(keyboard, b"defautl\n")
        assert main(["accounts", "forget", "default"]) == 2
        said = capsys.readouterr()
        assert "default: 1 trunks, seen from" in said.out
        assert "nothing was deleted" in said.err
        assert ask("SELECT count(*) FROM sip_trunks") == [(1,)]
        os.write(keyboard, b"default\n")
        assert main(["accounts", "forget", "default"]) == 0
    os.close(keyboard)
    assert ask("SELECT count(*) FROM sip_trunks") == [(0,)]
