"""Reports as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.reporting.terminal import print_overview, print_tables
from tests.support.frames import frame
from trunk_transforms.schema.findings import CURRENT_FINDINGS

if TYPE_CHECKING:
    import pytest


def test_a_hundred_findings_of_one_cause_take_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    base = {"account": "acme", "phone_number": "1000", "nickname": "Front desk", "severity": "low", "fix": "mend it"}
    shared = base | {"rule": "exposure-shared-credential", "cause": 'the username "one"'}
    rows = [
        base | {"trunk_id": 7, "rule": "host-ip", "cause": "c", "seen": "a bare address", "severity": "high"},
        *(shared | {"trunk_id": number, "seen": f"same username as trunk {number + 1}"} for number in range(100)),
    ]
    findings = frame(rows, CURRENT_FINDINGS.names)
    print_tables(
        {"audit": findings.astype({"opened_at": "datetime64[us, UTC]", "is_new_rule": "boolean"})}, suppressed_count=2
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "high      host-ip",
        "          seen  a bare address",
        "          fix   mend it",
        "          of    trunk 7, 1000, Front desk, acme",
    ]
    assert lines[5] == '          with  the username "one"'
    assert lines[-2:] == [
        "                and 90 more; --format csv lists them all",
        "101 findings of 2 causes: 1 high, 100 low; 2 suppressed",
    ]
    assert len(lines) == 19


def test_one_of_a_kind_is_not_many(capsys: pytest.CaptureFixture[str]) -> None:
    print_overview(
        [
            ("accounts", "accounts", 1, "acme"),
            ("trunks", "trunks", 1, None),
            ("counts", "+e164 · United States", 1, "100 %"),
            ("changes", "added trunks", 1, None),
            ("changes", "changed trunks", 2, None),
        ]
    )
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "accounts 1 account acme",
        "trunks 1 trunk",
        "counts 1 +e164 · United States 100 %",
        "changes 1 added trunk",
        "2 changed trunks",
    ]
