"""Runs of many accounts that are asked side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from sip_trunks.commands import main
from sip_trunks.core.settings import prepare_state_dir, read_settings
from sip_trunks.destinations.duckdb_file import DuckDBFile
from sip_trunks.run.extract import RunContext, extract_snapshots
from tests.support.builders import raw, trunk
from tests.support.runs import query
from trunk_transforms.parse.snapshot import parse_snapshot
from trunk_transforms.parse.values import FIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


def test_a_bug_in_one_account_does_not_stop_the_others(
    api: Api, place: Path, tokens: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def meet_a_bug(value: object) -> None:
        raise ZeroDivisionError(f"cannot divide {value}")

    monkeypatch.setitem(FIT, "bool", meet_a_bug)
    for number, token in enumerate(tokens):
        api.answer_to(token, [trunk(id=number)])
    api.answer_to(tokens[2], [trunk(id=2, outbound_proxy="hunter2")])
    assert main(["run", "--no-reports"]) == 8
    said = capsys.readouterr()
    assert "accounts   8: 7 loaded, 1 failed" in said.out
    (line,) = (line for line in said.err.splitlines() if "bug" in line)
    assert line.startswith("sip-trunks: acct-2: a bug (ZeroDivisionError): ")
    log = (place / "data" / "state" / "sip-trunks.log").read_text()
    assert "in meet_a_bug" in log
    assert "hunter2" not in said.out + said.err + log
    assert "Traceback" not in said.err
    assert "in meet_a_bug" not in said.err
    assert main(["run", "--no-reports", "--account", "acct-2"]) == 1


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt, 130), (MemoryError, 1), (OSError, 7), (duckdb.IOException, 7)]
)
def test_an_error_that_is_not_of_one_account_ends_the_run(
    api: Api, place: Path, tokens: list[str], monkeypatch: pytest.MonkeyPatch, error: type[BaseException], code: int
) -> None:
    def fail(_: object) -> None:
        raise error("no more")

    monkeypatch.setitem(FIT, "bool", fail)
    for token in tokens:
        api.answer_to(token, [trunk()])
    api.answer_to(tokens[2], [trunk(outbound_proxy="no")])
    assert main(["run", "--no-reports"]) == code
    assert not (place / "data" / "warehouse.duckdb").exists()


class SmallBatches(DuckDBFile):
    """A file that is loaded three trunks at a time."""

    max_batch_trunks = 3


@pytest.fixture
def tokens(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A configuration of eight accounts that are asked side by side."""
    names = [f"acct-{number}" for number in range(8)]
    lines = "\n".join(f'{name} = "token-of-{name}"' for name in names)
    (place / ".dlt").mkdir()
    (place / ".dlt" / "secrets.toml").write_text(f"[sources.famulor.accounts]\n{lines}\n")
    monkeypatch.setenv("SOURCES__FAMULOR__CONCURRENCY", "4")
    return [f"token-of-{name}" for name in names]


def test_good_accounts_are_loaded_and_the_run_says_why_the_others_failed(
    api: Api, tokens: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, token in enumerate(tokens):
        api.answer_to(token, [trunk(id=number), trunk(id=100 + number)])
    api.answer_to(tokens[2], b"", status=500)
    api.answer_to(tokens[6], b"", status=500)
    assert main(["run", "--no-reports"]) == 8
    said = capsys.readouterr()
    assert "accounts   8: 6 loaded, 2 failed" in said.out
    assert "trunks     12: 12 new, 0 changed, 0 removed" in said.out
    (why,) = [line for line in said.err.splitlines() if "status 500" in line and "attempts:" in line]
    assert why.startswith("sip-trunks: acct-2, acct-6: ")
    for token in (tokens[2], tokens[6]):
        api.answer_to(token, [trunk(id=7)])
    api.answer_to(tokens[0], [trunk(id=0)])
    assert main(["run", "--no-reports"]) == 0
    assert "accounts   8: 3 loaded, 5 unchanged" in capsys.readouterr().out
    single = "SELECT account FROM sip_trunks GROUP BY 1 HAVING count(*) = 1 ORDER BY 1"
    assert query(single) == [("acct-0",), ("acct-2",), ("acct-6",)]


def test_one_token_under_two_names_is_noticed(
    place: Path, api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "same")
    monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__BETA", "same")
    api.answer([trunk()])
    assert main(["check"]) == 2
    assert "FAIL  tokens: acme, beta have the same token" in capsys.readouterr().out
    assert main(["run", "--no-reports"]) == 0
    assert "sip-trunks: acme, beta have the same token" in capsys.readouterr().err


def test_a_run_loads_in_batches_of_a_limited_size(api: Api, tokens: list[str]) -> None:
    for number, token in enumerate(tokens):
        api.answer_to(token, [trunk(id=number, zz_note=number), trunk(id=100 + number)])
    settings, parts = read_settings(), list[int]()
    destination = SmallBatches(settings)
    prepare_state_dir(settings)
    with destination.working() as connection:
        for batch in extract_snapshots(RunContext(settings, destination, settings.accounts), connection, {}).batches():
            parts.append(len(batch.snapshots))
            destination.load(connection, batch)
    destination.publish(batch.snapshot_at)
    assert parts == [2, 2, 2, 2]
    stored = """SELECT count(*), count(zz_note), count(DISTINCT account), count(DISTINCT valid_from),
        (SELECT count(DISTINCT snapshot_at) FROM sip_trunk_snapshots) FROM sip_trunks_history"""
    assert query(stored) == [(16, 8, 8, 1, 1)]


def test_each_of_many_accounts_is_stored_as_it_would_be_alone(
    api: Api, tokens: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Small accounts are parsed together, unless one of them has drift, which is not another account's."""
    sent = [[trunk(id=42), trunk(id=number)] for number in range(len(tokens))]
    sent[2] = []
    sent[4] = [trunk(id=4, zz_note=4, outbound_proxy="no")]
    sent[5] = [trunk(id=5, zz_note=5)]
    for token, trunks in zip(tokens, sent, strict=True):
        api.answer_to(token, trunks)
    api.answer_to(tokens[6], [trunk(id="six")])
    assert main(["run", "--no-reports"]) == 8
    assert "acct-6: expected an integer `id`" in capsys.readouterr().err
    alone = [parse_snapshot(raw(*sent[n]), account=f"acct-{n}").rows for n in range(len(tokens)) if n != 6]
    versions = [row for rows in alone for row in rows.select(["account", "id", "row_version"]).to_pylist()]
    stored = query("SELECT account, id, row_version FROM sip_trunks ORDER BY ALL")
    assert stored == sorted(tuple(row.values()) for row in versions)
    assert query("SELECT account, column_name, kind, row_count FROM drift ORDER BY ALL") == [
        ("acct-4", "outbound_proxy", "type_mismatch", 1),
        ("acct-4", "zz_note", "new_column", 1),
        ("acct-5", "zz_note", "new_column", 1),
    ]
