"""Metrics for Prometheus: the last run and what is known of the accounts, in its text format."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.settings import Settings, read_settings
from sip_trunks.operations.monitoring.prometheus import rename_metrics, write_metrics
from sip_trunks.run.result import AccountResult, RuleFindings, RunResult
from sip_trunks.run.run_log import summarize, summarize_failure
from sip_trunks.warehouse.state import StoredAccount
from tests.support.hook import NOON, QUIET, REFUSED, outcome_of
from tests.support.prometheus import samples_of

if TYPE_CHECKING:
    from pathlib import Path

GOOD = AccountResult("acme", "loaded", 2, 2, 0, 0, drift_count=1)
FOUND = (RuleFindings("critical", "allowlist-open", 2, 1), RuleFindings("low", "number-format", 9, 9))


@pytest.fixture
def settings(place: Path) -> Settings:
    return replace(read_settings(), metrics=str(place / "exported" / "sip_trunks.prom"))


def after(settings: Settings, outcome: RunResult) -> dict[str, float]:
    """Return the samples after a run."""
    write_metrics(settings, summarize(outcome), outcome)
    return samples_of(settings.metrics_path.read_text("utf-8"))


def findings_in(samples: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in samples.items() if name.startswith("sip_trunks_findings")}


def test_a_failed_run_keeps_the_values_that_it_did_not_determine(settings: Settings) -> None:
    good = after(settings, outcome_of(GOOD, findings=FOUND))
    assert good["sip_trunks_run_exit_code"] == 0
    assert good["sip_trunks_run_duration_seconds"] == 1.5
    assert good["sip_trunks_last_success_timestamp_seconds"] == good["sip_trunks_last_run_timestamp_seconds"]
    assert good['sip_trunks_trunks{account="acme"}'] == 2
    assert good['sip_trunks_drift{account="acme"}'] == 1
    assert good['sip_trunks_findings{severity="critical"}'] == 2
    assert good['sip_trunks_findings{severity="high"}'] == 0
    later: dict[str, Any] = {"started_at": NOON + timedelta(hours=1), "duration_seconds": 2.5}
    failed = replace(outcome_of(REFUSED, exit_code=3, findings=None), **later, snapshot_at=None)
    write_metrics(settings, summarize(failed), failed)
    # Of accounts that failed, what is stored is known.
    samples = samples_of(settings.metrics_path.read_text("utf-8"))
    assert samples["sip_trunks_run_exit_code"] == 3
    assert samples["sip_trunks_last_success_timestamp_seconds"] == good["sip_trunks_last_success_timestamp_seconds"]
    assert samples["sip_trunks_last_run_timestamp_seconds"] == good["sip_trunks_last_run_timestamp_seconds"] + 3601
    assert findings_in(samples) == findings_in(good)


def test_an_error_that_ended_a_run_changes_only_the_metrics_of_the_last_run(settings: Settings) -> None:
    good = after(settings, outcome_of(GOOD, findings=FOUND))
    write_metrics(settings, summarize_failure(settings, ValueError("x"), NOON), None)
    samples = samples_of(settings.metrics_path.read_text("utf-8"))
    changed = {name for name in samples if samples[name] != good[name]}
    assert changed == {
        "sip_trunks_run_exit_code", "sip_trunks_last_run_timestamp_seconds", "sip_trunks_run_duration_seconds",
    }  # fmt: skip
    assert samples["sip_trunks_run_exit_code"] == 1


def test_findings_of_an_older_response_are_not_current_and_are_left_out(settings: Settings) -> None:
    assert findings_in(after(settings, outcome_of(GOOD, findings=FOUND)))
    assert not findings_in(after(settings, outcome_of(replace(QUIET, status="loaded"), findings=None)))
    assert findings_in(after(settings, outcome_of(GOOD, findings=())))


def test_a_forgotten_account_is_in_no_metric_and_findings_wait_for_the_next_run(settings: Settings) -> None:
    after(settings, outcome_of(GOOD, replace(GOOD, account="beta"), findings=FOUND))
    rename_metrics(settings, "acme", None)
    samples = samples_of(settings.metrics_path.read_text("utf-8"))
    assert not [name for name in samples if "acme" in name or "findings" in name]
    assert samples['sip_trunks_trunks{account="beta"}'] == 2


def test_findings_and_causes_are_counted_by_severity_and_by_rule(settings: Settings) -> None:
    found = (
        RuleFindings("high", "host-ip", 23, 0, cause_count=1),
        RuleFindings("high", "provider-host", 4, 0, cause_count=2),
        RuleFindings("low", "provider-host", 1, 0, cause_count=1),
    )
    samples = after(settings, outcome_of(GOOD, findings=found))
    of_findings = {name: value for name, value in samples.items() if "findings" in name or "causes" in name}
    assert of_findings == {
        **{f'sip_trunks_findings{{severity="{name}"}}': 0 for name in ("info", "medium", "critical")},
        **{f'sip_trunks_causes{{severity="{name}"}}': 0 for name in ("info", "medium", "critical")},
        'sip_trunks_findings{severity="high"}': 27,
        'sip_trunks_findings{severity="low"}': 1,
        'sip_trunks_causes{severity="high"}': 3,
        'sip_trunks_causes{severity="low"}': 1,
        'sip_trunks_rule_findings{rule="host-ip",severity="high"}': 23,
        'sip_trunks_rule_findings{rule="provider-host",severity="high"}': 4,
        'sip_trunks_rule_findings{rule="provider-host",severity="low"}': 1,
        'sip_trunks_rule_causes{rule="host-ip",severity="high"}': 1,
        'sip_trunks_rule_causes{rule="provider-host",severity="high"}': 2,
        'sip_trunks_rule_causes{rule="provider-host",severity="low"}': 1,
    }


def test_an_account_that_is_no_longer_configured_has_no_metrics_after_the_next_run(settings: Settings) -> None:
    stored = {name: StoredAccount(NOON, 7, "", 0, "", "") for name in ("default", "left")}
    after(settings, outcome_of(replace(GOOD, account="left")))
    samples = after(settings, replace(outcome_of(GOOD), stored=stored))
    assert samples['sip_trunks_trunks{account="default"}'] == 7  # configured, but not part of this run
    assert not [name for name in samples if "left" in name]


def test_a_renamed_account_has_its_metrics_under_the_new_name_once(settings: Settings) -> None:
    before = after(settings, outcome_of(GOOD, replace(GOOD, account="acme-2"), replace(GOOD, account="new")))
    rename_metrics(settings, "acme", "new")
    rename_metrics(settings, "acme", "new")
    text = settings.metrics_path.read_text("utf-8")
    assert text.count('sip_trunks_trunks{account="new"} 2\n') == text.count('account="acme-2"} 2\n') == 1
    assert samples_of(text) == {name: value for name, value in before.items() if '"acme"' not in name}


@pytest.mark.parametrize("account", ['say "hi"', "back\\slash", "line\nbreak", "ünï"])
def test_the_name_of_an_account_is_escaped(account: str, settings: Settings) -> None:
    samples = after(settings, outcome_of(replace(GOOD, account=account)))
    assert len([name for name in samples if name.startswith("sip_trunks_trunks")]) == 1
