"""Many accounts at once: bounded, each token on its own, in order, and no account's failure another's."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.cli import main
from pipelines.errors import ApiRefused, ApiUnreachable
from pipelines.famulor.client import Snapshot
from pipelines.famulor.pace import Pace
from pipelines.famulor.snapshots import fetching
from pipelines.intake import Taken, load_of, take
from pipelines.outcome import tell_failures
from pipelines.settings import Account, ApiSettings, find_shared_tokens, prepare_state_dir, read_settings
from pipelines.warehouse import Warehouse
from tests.builders import trunk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Api

ACCOUNTS = [Account(f"a{number}", f"token-{number}") for number in range(12)]


def fetch_all(api: Api, accounts: list[Account], **values: Any) -> dict[str, object]:
    settings = ApiSettings(base_url=api.base_url, **{"attempts": 1, "backoff_seconds": 0.01, **values})
    with fetching(accounts, settings) as results:
        return {account.name: result for account, result in results}


def test_accounts_are_asked_side_by_side_and_never_more_than_allowed(api: Api) -> None:
    api.pause_seconds = 0.05
    results = fetch_all(api, ACCOUNTS, concurrency=4)
    assert list(results) == [account.name for account in ACCOUNTS]
    assert all(isinstance(result, Snapshot) for result in results.values())
    assert max(map(len, api.busy_with)) == 4


def test_a_token_is_never_used_twice_at_the_same_time_whatever_its_accounts_are_called(api: Api) -> None:
    api.pause_seconds = 0.02
    shared = [Account("acme", "one"), Account("acme-again", "one"), Account("beta", "two"), Account("third", "one")]
    fetch_all(api, shared, concurrency=4)
    assert len(api.requests) == 4
    assert all(busy.count("one") <= 1 for busy in api.busy_with)
    assert find_shared_tokens(shared) == [("acme", "acme-again", "third")]


def test_workers_keep_their_connections_from_one_account_to_the_next(api: Api) -> None:
    fetch_all(api, ACCOUNTS, concurrency=3)
    assert len(api.requests) == 12
    assert api.connection_count <= 3


def test_a_slow_account_holds_up_none_that_comes_after_it(api: Api) -> None:
    api.queue_to("token-0", b"", status=503, Retry_After="0.6")
    settings = ApiSettings(base_url=api.base_url, attempts=2, backoff_seconds=0.01, concurrency=2)
    with fetching(ACCOUNTS, settings) as results:
        next(results)
        # While the first account waited, all the others were fetched.
        assert len(api.requests) == 13
        assert [account.name for account, _ in results] == [account.name for account in ACCOUNTS[1:]]


def test_so_much_is_fetched_ahead_and_no_more(api: Api) -> None:
    api.queue_to("token-0", b"", status=503, Retry_After="0.3")
    settings = ApiSettings(base_url=api.base_url, attempts=2, backoff_seconds=0.01, concurrency=2)
    with fetching(ACCOUNTS, settings, most_waiting_bytes=1) as results:
        next(results)
        assert len(api.requests) <= 5
        assert len(list(results)) == 11


def test_each_account_fails_with_its_own_reason(api: Api) -> None:
    api.answer_to("token-3", b"{}", status=401)
    api.answer_to("token-5", b"no json")
    results = fetch_all(api, ACCOUNTS)
    assert isinstance(results["a3"], ApiRefused)
    assert "'a3'" in str(results["a3"])
    assert str(results["a5"]).startswith("expected JSON")
    assert sum(isinstance(result, Snapshot) for result in results.values()) == 10


def test_nobody_waits_for_a_host_that_answers_nobody(api: Api) -> None:
    api.answer(b"", status=503)
    many = [Account(f"a{number}", f"t{number}") for number in range(60)]
    results = fetch_all(api, many, concurrency=4)
    assert all(isinstance(result, ApiUnreachable) for result in results.values())
    assert 20 <= len(api.requests) <= 24
    assert str(results["a59"]) == "not asked, since the 20 accounts before it got no answer either"


def test_one_answer_gives_hope_to_the_accounts_that_follow(api: Api) -> None:
    many = [Account(f"a{number}", f"t{number}") for number in range(60)]
    for number in range(60):
        if number % 15:
            api.answer_to(f"t{number}", b"", status=503)
    results = fetch_all(api, many, concurrency=1)
    assert len(api.requests) == 60
    assert sum(isinstance(result, Snapshot) for result in results.values()) == 4


def test_what_is_a_bug_is_raised_and_nothing_more_is_asked_for(api: Api, tmp_path: Path) -> None:
    api.pause_seconds = 0.02
    settings = ApiSettings(base_url=api.base_url, concurrency=1)
    api.answer([trunk(phone_number="1" * 2**21)])
    with pytest.raises(FileNotFoundError), fetching(ACCOUNTS, settings, spool_dir=tmp_path / "gone") as results:
        list(results)
    asked = len(api.requests)
    time.sleep(0.1)
    assert asked <= len(api.requests) <= asked + 1


def test_a_token_keeps_to_the_documented_limits() -> None:
    """100 requests a minute, bursts of 20 in 10 seconds: https://app.famulor.de/api answers 429 beyond."""
    pace, now, sent = Pace(), 1000.0, list[float]()
    for _ in range(250):
        now += pace.count_request(now) + 0.01
        sent.append(now)
    assert sent[19] < 1000.5
    for count, seconds in ((20, 10), (100, 60)):
        assert all(later - earlier >= seconds for earlier, later in zip(sent, sent[count:], strict=False))


def test_what_went_wrong_is_told_in_few_lines_however_many_accounts_it_is() -> None:
    assert tell_failures([("a", "no answer"), ("b", "no"), ("c", "no answer")]) == ["a, c: no answer", "b: no"]
    alike = tell_failures((f"a{number}", "no answer") for number in range(1000))
    assert alike == ["a0, a1, a2 and 997 more accounts: no answer"]
    lines = tell_failures((f"a{number}", f"token {number}") for number in range(1000))
    assert len(lines) == 11
    assert lines[-1] == "… and 990 more accounts failed: state/last_run.json has all"


# A whole run


@pytest.fixture
def tokens(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A configuration of eight accounts that are asked side by side."""
    names = [f"acct-{number}" for number in range(8)]
    lines = "\n".join(f'{name} = "token-of-{name}"' for name in names)
    (place / ".dlt").mkdir()
    (place / ".dlt" / "secrets.toml").write_text(f"[sources.famulor.accounts]\n{lines}\n")
    monkeypatch.setenv("SOURCES__FAMULOR__CONCURRENCY", "4")
    return [f"token-of-{name}" for name in names]


def test_good_accounts_are_loaded_and_the_outcome_says_of_the_bad_ones_why(
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
    main(["sql", "SELECT account, count(*) AS n FROM sip_trunks GROUP BY 1 HAVING n = 1 ORDER BY 1", "--format", "csv"])
    assert capsys.readouterr().out.split() == ["account,n", "acct-0,1", "acct-2,1", "acct-6,1"]


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


def test_a_run_loads_in_parts_what_is_too_much_at_once(api: Api, tokens: list[str]) -> None:
    for number, token in enumerate(tokens):
        api.answer_to(token, [trunk(id=number, note=number), trunk(id=100 + number)])
    settings, moment, parts = read_settings(), datetime.now(UTC), list[int]()
    destination, taken = Warehouse(settings), Taken()
    prepare_state_dir(settings)
    with destination.working() as connection:
        coming = take(
            settings, connection, settings.accounts, {}, taken, accept_shrink=False, trunks_at_once=3, announce=print
        )
        for judged in coming:
            parts.append(len(judged))
            destination.load(connection, load_of(judged, moment, "1.0"))
    destination.publish(moment)
    assert parts == [2, 2, 2, 2]
    with destination.reading() as connection:
        query = """SELECT count(*), count(note), count(DISTINCT account), count(DISTINCT valid_from),
            (SELECT count(DISTINCT snapshot_at) FROM sip_trunk_snapshots) FROM sip_trunks_history"""
        assert connection.execute(query).fetchall() == [(16, 8, 8, 1, 1)]
