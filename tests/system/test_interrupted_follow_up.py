"""Runs that are killed after they have published: the next run writes the page and sends the notifications.

Only a process can be killed.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.settings import read_settings
from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.paused import go_on, paused_at
from tests.support.runs import TOKEN, call, query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.api import Api
    from tests.support.hook import Hook

CHANGED = [TRUNK | {"country_code": "nowhere", "zz_invented": 1}, IP_TRUNK]
NEWS = ("2 new findings: ", "new drift: ", "trunks: 1 new, 1 changed, 0 removed")


@pytest.fixture
def notified(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> Hook:
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY", hook.address)
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY_SEVERITY", "low")
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY_ON", '["failure", "recovery", "findings", "drift", "changes"]')
    return hook


def kill_at(path: str, place: Path, arguments: Sequence[str] = ("run",)) -> None:
    """Kill a command just before it opens this path, a pattern."""
    with paused_at(path, Path(mkdtemp(dir=place)), *arguments) as process:
        process.kill()


def page() -> str:
    return read_settings().page_path.read_text("utf-8")


@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
@pytest.mark.parametrize("step", ["*/.index.html*draft", "*/.metrics*draft", "*/.notified*draft"])
def test_the_next_run_finishes_the_follow_up_of_a_killed_run(
    destination: str, step: str, api: Api, place: Path, notified: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__DESTINATION", destination)
    api.answer([TRUNK])
    call("run")
    api.answer(CHANGED)
    kill_at(step, place)
    assert query("SELECT count(*) FROM sip_trunks") == [(2,)]
    notified.take_texts()
    call("run")
    assert "nowhere" in page()
    text = notified.take_texts()
    assert [text.count(line) for line in NEWS] == [1, 1, 1]
    call("run")
    assert notified.take_texts() == ""


def test_a_page_that_a_killed_command_has_left_is_written_or_deleted(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACME", "BETA"):
        monkeypatch.setenv(f"SOURCES__FAMULOR__ACCOUNTS__{name}", f"{TOKEN}-{name}")
    api.answer([TRUNK])
    call("run")
    kill_at("*/reports/.index.html*draft", place, ("accounts", "forget", "beta", "--yes"))
    assert "never seen" not in page()
    call("run", "--account", "acme")
    assert "never seen" in page()
    api.answer([IP_TRUNK])
    kill_at("*/reports/.index.html*draft", place)
    call("run", "--no-reports")
    assert not read_settings().page_path.exists()


def test_a_run_leaves_the_notifications_of_a_living_one_to_it(api: Api, place: Path, notified: Hook) -> None:
    api.answer([TRUNK])
    with paused_at("*/.metrics*draft", place / "marks", "run", "--no-reports") as process:
        call("run", "--no-reports")
        assert notified.take_texts() == ""
        go_on(place / "marks")
        process.communicate()
    assert notified.take_texts().count("trunks: 1 new") == 1
    assert process.returncode == 0
