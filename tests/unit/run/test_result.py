"""What a run says about itself."""

from __future__ import annotations

from sip_trunks.run.result import describe_failures


def test_failures_are_reported_in_few_lines_however_many_accounts_failed() -> None:
    assert describe_failures([("a", "no answer"), ("b", "no"), ("c", "no answer")]) == ["a, c: no answer", "b: no"]
    alike = describe_failures((f"a{number}", "no answer") for number in range(1000))
    assert alike == ["a0, a1, a2 and 997 more accounts: no answer"]
    lines = describe_failures((f"a{number}", f"token {number}") for number in range(1000))
    assert len(lines) == 11
    assert lines[-1] == "… and 990 more accounts failed: state/last_run.json has all"
