"""Notifications for a webhook: what is sent, when, and what becomes of it when the webhook cannot be reached."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import Settings, prepare_state_dir, read_settings
from sip_trunks.operations.monitoring.webhook import NotificationError, notify, rename_notifications
from sip_trunks.run.result import AccountResult, RuleFindings, RunResult
from sip_trunks.run.run_log import summarize
from sip_trunks.warehouse.state import SeenDrift
from tests.support.hook import NOON, QUIET, REFUSED, SECRET, outcome_of
from tests.support.runs import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hook import Hook


@pytest.fixture
def settings(place: Path, hook: Hook) -> Settings:
    """Settings that name the webhook."""
    settings = replace(read_settings(), notify=hook.address)
    prepare_state_dir(settings)
    return settings


def send(settings: Settings, outcome: RunResult, *, total_seconds: float = PATIENCE_SECONDS) -> None:
    notify(settings, summarize(outcome), outcome, None, total_seconds=total_seconds)


# ---------------------------------------------------------------------- what is sent


def test_a_failure_is_sent_once_a_day_and_once_more_when_it_is_over(settings: Settings, hook: Hook) -> None:
    for code in (3, 3, 3):
        send(settings, outcome_of(REFUSED, exit_code=code))
    assert len(hook.texts) == 1
    assert "failed with exit code 3" in hook.take_texts()
    file = settings.state_dir / "notified.json"
    memory = json.loads(file.read_text())
    file.write_text(json.dumps(memory | {"told_at": (datetime.now(UTC) - timedelta(hours=25)).isoformat()}))
    send(settings, outcome_of(REFUSED, exit_code=3))
    assert "failing since 2026-03-31 12:00 UTC" in hook.take_texts()
    file.write_text(json.dumps(memory | {"told_at": (datetime.now(UTC) + timedelta(hours=25)).isoformat()}))
    send(settings, outcome_of(REFUSED, exit_code=3))
    assert "failing since 2026-03-31 12:00 UTC" in hook.take_texts()
    send(settings, outcome_of(REFUSED, QUIET, exit_code=8))
    assert "exit code 8: 1 of 2 accounts" in hook.take_texts()
    send(settings, outcome_of(QUIET))
    assert "works again; failed since 2026-03-31 12:00 UTC" in hook.take_texts()
    send(settings, outcome_of(QUIET))
    assert hook.take_texts() == ""


def test_only_the_kinds_of_notifications_that_are_configured_are_sent(settings: Settings, hook: Hook) -> None:
    send(replace(settings, notify_on=("findings",)), outcome_of(REFUSED, exit_code=3))
    assert hook.request_count == 0


def test_new_findings_drift_and_changes_are_sent_without_any_phone_number(settings: Settings, hook: Hook) -> None:
    drift = [
        SeenDrift("acme", name, "new_column", "for <+4930555123456>", 3, since, NOON, True)
        for name, since in (("<!here> +49 30 555 0177\n& more", NOON), ("old", NOON - timedelta(hours=1)))
    ]
    findings = [
        RuleFindings("critical", "allowlist-open", 2, 1),
        RuleFindings("high", "number-duplicate", 3, 0),
        RuleFindings("low", "number-format", 9, 9),
    ]
    entry = AccountResult("acme", "loaded", 5, 1, 2, 3, drift_count=2, drift=tuple(drift))
    send(settings, outcome_of(entry, findings=findings))
    sent = hook.take_texts()
    assert "1 new finding: 1 critical of allowlist-open" in sent
    assert "number-" not in sent
    assert "trunks: 1 new, 2 changed, 3 removed (acme)" in sent
    assert "&lt;!here&gt; … &amp; more (new_column)" in sent.replace("\\n", " ")
    assert "old" not in sent
    assert not re.search(r"\d{5}", sent)
    send(replace(settings, notify_severity="low"), outcome_of(QUIET, findings=findings))
    assert "10 new findings: 1 critical of allowlist-open, 9 low of number-format" in hook.take_texts()


def test_new_findings_are_sent_by_rule_and_cause_without_those_of_new_rules(settings: Settings, hook: Hook) -> None:
    findings = [
        RuleFindings("high", "provider-host", 23, 23, cause_count=1, new_cause_count=1),
        RuleFindings("high", "host-ip", 9, 3, cause_count=2, known_cause_count=1, added_count=3),
        RuleFindings("critical", "allowlist-open", 5, 4, 3, new_cause_count=2, known_cause_count=1, added_count=1),
        RuleFindings("high", "number-missing", 8, 0, cause_count=8, new_rule_count=8),
    ]
    send(settings, outcome_of(QUIET, findings=findings))
    assert hook.take_texts().endswith(
        "30 new findings: 4 critical of allowlist-open (2 causes, 3 trunks; 1 known cause, 1 more trunk), "
        "23 high of provider-host (1 cause, 23 trunks), 3 high of host-ip (1 known cause, 3 more trunks)"
    )
    send(settings, outcome_of(QUIET, findings=findings[3:]))
    assert hook.take_texts() == ""


def test_a_message_has_no_phone_number_however_it_is_written_and_keeps_hosts_and_dates(
    settings: Settings, hook: Hook
) -> None:
    numbers = ("030/123456", "(030) 123 456", "12 34 56", "+49 30 - 123456", "0049.30.123456")
    for number in numbers:
        failed = replace(REFUSED, account=f"acme{len(number)}", error=f"at 192.168.10.20 on 2026-11-26: {number}")
        send(settings, outcome_of(failed, exit_code=3))
    sent = hook.take_texts()
    assert sent.count("at 192.168.10.20 on 2026-11-26") == len(numbers)
    assert "123" not in sent.replace("192.168.10.20", "")


# ---------------------------------------------------------------------- a webhook that cannot be reached


def test_a_webhook_with_an_error_is_asked_again_and_one_that_refuses_is_not(settings: Settings, hook: Hook) -> None:
    hook.statuses = [500]
    send(settings, outcome_of(REFUSED, exit_code=3))
    assert (hook.request_count, len(hook.texts)) == (2, 1)
    for status in (404, 302):
        hook.statuses, before = [status], hook.request_count
        with pytest.raises(NotificationError, match=f"HTTP {status}") as caught:
            send(settings, outcome_of(QUIET))
        assert SECRET not in str(caught.value)
        assert hook.request_count == before + 1
    hook.take_texts()
    send(settings, outcome_of(QUIET))
    assert hook.take_texts().count("works again") == 1


def test_findings_of_a_run_that_failed_in_part_are_sent_when_the_webhook_is_back(
    settings: Settings, hook: Hook
) -> None:
    hook.statuses = [404, 404]
    for findings in ([RuleFindings("critical", "allowlist-open", 1, 1)], []):
        with pytest.raises(NotificationError):
            send(settings, outcome_of(REFUSED, QUIET, exit_code=8, findings=findings))
    send(settings, outcome_of(REFUSED, QUIET, exit_code=8))
    sent = hook.take_texts()
    assert sent.count("failed with exit code 8") == 1
    assert sent.count("1 new finding: 1 critical of allowlist-open") == 1
    send(settings, outcome_of(REFUSED, QUIET, exit_code=8))
    assert hook.take_texts() == ""


@pytest.mark.parametrize("noted", ["{}", "[]", '{"unsent": 1}', '{"unsent": [], "told_at": 3}', "\0"])
def test_a_damaged_file_of_sent_notifications_is_ignored(noted: str, settings: Settings, hook: Hook) -> None:
    (settings.state_dir / "notified.json").write_text(noted)
    send(settings, outcome_of(REFUSED, exit_code=3))
    assert "failed with exit code 3" in hook.take_texts()


def test_pending_notifications_of_an_account_are_forgotten_with_it(settings: Settings, hook: Hook) -> None:
    for name in ("acme", "acme-2"):
        hook.statuses = [404]
        with pytest.raises(NotificationError):
            send(settings, outcome_of(AccountResult(name, "loaded", 1, 1, 0, 0)))
    rename_notifications(settings, "acme", None)
    send(settings, outcome_of(QUIET))
    assert hook.take_texts().splitlines()[0].endswith(": trunks: 1 new, 0 changed, 0 removed (acme-2)")


def test_pending_notifications_of_a_renamed_account_have_its_new_name(settings: Settings, hook: Hook) -> None:
    hook.statuses = [404]
    with pytest.raises(NotificationError):
        send(settings, outcome_of(*(AccountResult(name, "loaded", 1, 1, 0, 0) for name in ("acme", "acme-2"))))
    rename_notifications(settings, "acme", "new")
    send(settings, outcome_of(QUIET))
    assert hook.take_texts().splitlines()[0].endswith("(new, acme-2)")


def test_a_webhook_that_does_not_respond_in_time_is_given_up(settings: Settings, hook: Hook) -> None:
    hook.is_open.clear()
    with pytest.raises(NotificationError, match=r"within 0\.2 s|no response"):
        send(settings, outcome_of(REFUSED, exit_code=3), total_seconds=0.2)
    assert json.loads((settings.state_dir / "notified.json").read_text())["told_at"] is None


@pytest.mark.parametrize(
    "address",
    ["http://hooks.example.com/x", "https:///x", "ftp://example.com/x", "hooks.example.com/x", "https://me:pw@example.com/x",
     "https://[::1", "https://example.com:0/x"],
)  # fmt: skip
def test_notifications_are_sent_to_safe_addresses_only(
    address: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_TRUNKS__NOTIFY", address)
    with pytest.raises(UsageError, match="must be a URL such as") as caught:
        read_settings()
    assert address not in str(caught.value)
