"""Many accounts at once: bounded, each token on its own, in order, and no account's failure another's."""

from __future__ import annotations

import threading
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.accounts import find_shared_tokens
from sip_trunks.core.errors import ApiRefusedError, ApiUnreachableError
from sip_trunks.core.settings import Account, ApiSettings
from sip_trunks.famulor.client import RawSnapshot
from sip_trunks.famulor.fetch_many import fetching
from tests.support.builders import trunk
from tests.support.runs import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

ACCOUNTS = [Account(f"a{number}", f"token-{number}") for number in range(12)]


def fetch_all(api: Api, accounts: list[Account], **values: Any) -> dict[str, object]:
    settings = ApiSettings(base_url=api.base_url, **{"attempts": 1, "backoff_seconds": 0.01, **values})
    with fetching(accounts, settings) as results:
        return {account.name: result for account, result in results}


def test_accounts_are_fetched_concurrently_up_to_the_limit(api: Api) -> None:
    # No response before four accounts have been asked for: fewer at the same time would wait for ever.
    api.hold = lambda _: together.wait()
    together = Barrier(4, timeout=PATIENCE_SECONDS)
    results = fetch_all(api, ACCOUNTS, concurrency=4)
    assert list(results) == [account.name for account in ACCOUNTS]
    assert all(isinstance(result, RawSnapshot) for result in results.values())
    assert max(map(len, api.busy_with)) == 4


def test_a_token_is_never_used_twice_at_the_same_time(api: Api) -> None:
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
    others_are_asked = Event()

    def hold(token: str) -> None:
        if len(api.requests) == len(ACCOUNTS):
            others_are_asked.set()
        if token == "token-0":
            assert others_are_asked.wait(PATIENCE_SECONDS)

    api.hold = hold
    assert list(fetch_all(api, ACCOUNTS, concurrency=2)) == [account.name for account in ACCOUNTS]


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
    assert isinstance(results["a3"], ApiRefusedError)
    assert "'a3'" in str(results["a3"])
    assert str(results["a5"]).startswith("expected JSON")
    assert sum(isinstance(result, RawSnapshot) for result in results.values()) == 10


def test_accounts_fail_unasked_after_twenty_without_a_response(api: Api) -> None:
    api.answer(b"", status=503)
    many = [Account(f"a{number}", f"t{number}") for number in range(60)]
    results = fetch_all(api, many, concurrency=4)
    assert all(isinstance(result, ApiUnreachableError) for result in results.values())
    assert 20 <= len(api.requests) <= 24  # four may be on their way
    assert str(results["a59"]) == "not requested, because the previous 20 accounts got no response"


def test_one_response_lets_the_accounts_that_follow_be_asked(api: Api) -> None:
    many = [Account(f"a{number}", f"t{number}") for number in range(60)]
    for number in range(60):
        if number % 15:
            api.answer_to(f"t{number}", b"", status=503)
    results = fetch_all(api, many, concurrency=1)
    assert len(api.requests) == 60
    assert sum(isinstance(result, RawSnapshot) for result in results.values()) == 4


def test_a_bug_is_raised_and_no_other_account_is_asked_for(api: Api, tmp_path: Path) -> None:
    is_over = Event()
    api.hold = lambda token: token == "token-1" and is_over.wait(PATIENCE_SECONDS)
    api.answer([trunk(phone_number="1" * 2**21)])
    settings = ApiSettings(base_url=api.base_url, concurrency=1)
    before = set(threading.enumerate())
    with fetching(ACCOUNTS, settings, spool_dir=tmp_path / "missing") as results:
        workers = [thread for thread in threading.enumerate() if thread not in before]
        with pytest.raises(FileNotFoundError):
            list(results)
    is_over.set()
    for worker in workers:
        worker.join(PATIENCE_SECONDS)
    assert len(api.requests) == 2
