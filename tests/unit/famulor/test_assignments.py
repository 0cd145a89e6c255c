"""The numbers and assistants of an account, fetched after its trunks: in memory, and by the rules of every request."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sip_trunks.core.errors import ApiRefusedError
from tests.support.assignments import ASSISTANTS_PATH, NUMBERS_PATH, answer_assignments, assistant, number
from tests.support.fetching import GOOD, PATH, fetch, paths
from tests.support.runs import TOKEN
from trunk_transforms.parse.assignments import Assignments, Assistant, Number

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


def test_a_large_page_stays_in_memory_and_only_kept_fields_are_left(api: Api, tmp_path: Path) -> None:
    api.answer(GOOD)
    answer_assignments(api, [number(42, False)], [assistant(system_prompt="x" * 2**21)])
    # A larger response than fits memory could not be written there.
    snapshot = fetch(api.base_url, assignments=True, spool_dir=tmp_path / "missing")
    assert snapshot.assignments == Assignments(
        [Number(42, False)], [Assistant(7, 42, "Reception", "inbound", "active")]
    )
    assert paths(api) == [PATH, NUMBERS_PATH, f"{ASSISTANTS_PATH}&page=1"]
    assert {headers["Authorization"] for _, headers in api.requests} == {f"Bearer {TOKEN}"}


def test_the_hash_is_of_what_is_kept_in_any_order(api: Api) -> None:
    api.answer(GOOD)
    numbers, assistants = [number(42, False), number(43, True)], [assistant(), assistant(id=8)]
    answer_assignments(api, numbers, assistants)
    first = fetch(api.base_url, assignments=True)
    answer_assignments(api, numbers[::-1], [assistant(id=8, tools=[]), assistant(system_prompt="another")])
    again = fetch(api.base_url, assignments=True)
    assert again.assignments_sha256 == first.assignments_sha256
    assert again.body_sha256 == first.body_sha256 == hashlib.sha256(GOOD).hexdigest()
    answer_assignments(api, numbers, [assistant(name="Other"), assistant(id=8)])
    assert fetch(api.base_url, assignments=True).assignments_sha256 != first.assignments_sha256


def test_a_fault_is_retried_and_a_refusal_is_returned_with_the_trunks(api: Api) -> None:
    api.queue(GOOD)
    api.queue(b"", 503)
    answer_assignments(api, [number(42, False)], [assistant()])
    assert isinstance(fetch(api.base_url, assignments=True).assignments, Assignments)
    api.answer(GOOD)
    api.answer_at(NUMBERS_PATH, b'{"error": "Insufficient permissions"}', 403)
    snapshot = fetch(api.base_url, assignments=True)
    assert isinstance(snapshot.assignments, ApiRefusedError)
    assert snapshot.records is not None
    assert snapshot.assignments_sha256 is None
