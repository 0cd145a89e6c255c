"""What follows a run however it ended, and that none of it changes how the run ended."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import ApiRefusedError, RunActiveError, Terminated
from sip_trunks.core.settings import Settings, prepare_state_dir, read_settings
from sip_trunks.operations.monitoring.follow_up import follow_up, follow_up_failure
from sip_trunks.run.result import AccountResult
from tests.support.hook import NOON, QUIET, REFUSED, outcome_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hook import Hook


@pytest.fixture
def settings(place: Path, hook: Hook) -> Settings:
    """Settings that name the webhook."""
    settings = replace(read_settings(), notify=hook.address)
    prepare_state_dir(settings)
    return settings


def test_an_error_that_ended_a_run_is_sent_unless_a_user_pressed_ctrl_c(
    settings: Settings, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    follow_up_failure(settings, KeyboardInterrupt(), NOON)
    assert hook.request_count == 0
    follow_up_failure(settings, Terminated(), NOON)
    assert "exit code 143: stopped" in hook.take_texts()
    follow_up_failure(settings, ApiRefusedError("no <b>"), NOON)
    assert "exit code 3: no &lt;b&gt;" in hook.take_texts()
    assert capsys.readouterr().err == ""


def test_the_notifications_of_an_interrupted_run_are_sent_once_before_those_of_this_run(
    settings: Settings, hook: Hook
) -> None:
    earlier = outcome_of(AccountResult("acme", "loaded", 1, 1, 0, 0), REFUSED, exit_code=8)
    result = replace(outcome_of(AccountResult("beta", "loaded", 1, 0, 1, 0)), interrupted=(earlier,))
    follow_up(settings, result)
    texts = "\n".join(hook.texts)
    assert len(hook.texts) == 2
    assert texts.index("exit code 8") < texts.index("1 new") < texts.index("works again") < texts.index("1 changed")


def test_notifications_that_an_interrupted_run_has_stored_are_not_sent_twice(settings: Settings, hook: Hook) -> None:
    earlier = outcome_of(AccountResult("acme", "loaded", 1, 1, 0, 0))
    hook.statuses = [404]
    follow_up(settings, earlier)
    assert hook.take_texts() == ""
    follow_up(settings, replace(outcome_of(QUIET), interrupted=(earlier,)))
    assert hook.take_texts().count("1 new") == 1


def test_an_unexpected_error_is_sent_by_its_kind_and_without_its_text(settings: Settings, hook: Hook) -> None:
    follow_up_failure(settings, ValueError("cannot convert 'ana.lopez'"), NOON)
    sent = hook.take_texts()
    assert "exit code 1: ValueError" in sent
    assert "ana.lopez" not in sent


def test_a_run_that_was_refused_because_another_is_active_is_noted_and_not_sent(settings: Settings, hook: Hook) -> None:
    follow_up_failure(settings, RunActiveError("another run is active"), NOON)
    assert hook.request_count == 0
    assert not settings.metrics_path.exists()
    (line,) = (settings.state_dir / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["exit_code"] == 6


@pytest.mark.parametrize(
    ("metrics", "reason"), [("file/sip_trunks.prom", ""), ("~nobody-of-that-name/sip_trunks.prom", "RuntimeError: ")]
)
def test_metrics_that_cannot_be_written_are_a_warning(
    metrics: str, reason: str, settings: Settings, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    (settings.data_dir / "file").write_text("")
    hook.statuses = [404]
    loaded = replace(QUIET, status="loaded", new_count=1, changed_count=0, removed_count=0)
    follow_up(replace(settings, metrics=metrics), outcome_of(loaded))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"sip-trunks: the metrics were not written: {reason}")
    assert "no notification was sent: the response is HTTP 404" in said[1]
    assert "exit code 0 after 1.5 s; 1 loaded" in said[2]
    assert (settings.state_dir / "runs.jsonl").exists()
