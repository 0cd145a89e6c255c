"""A data directory that an earlier release wrote opens in this one, and its history goes on.

`warehouse-0.1.0.duckdb.xz` is what three runs of 0.1.0 published: two trunks; then one changed with a new field, one
with a value of the wrong type, one new; then one gone.
"""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import duckdb
import pytest

from sip_trunks.operations.monitoring.follow_up import describe_run
from sip_trunks.run.run_log import summarize
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.consistency import assert_history_is_sound, closed_versions, read
from tests.support.published import OPEN
from tests.support.runs import PROJECT, call, load, only

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

RELEASES = sorted((PROJECT / "tests" / "support" / "data").glob("warehouse-*.duckdb.xz"))


@pytest.mark.parametrize("is_renamed", [False, True])
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_data_of_earlier_releases_is_upgraded(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, release: Path, is_renamed: bool
) -> None:
    path = place / "data" / "warehouse.duckdb"
    path.parent.mkdir()
    path.write_bytes(lzma.decompress(release.read_bytes()))
    if is_renamed:
        call("accounts", "rename", "default", "acme")
        monkeypatch.setenv("SOURCES__FAMULOR__ACCOUNTS__ACME", "token")
    stored = closed_versions(path)
    assert len(stored) == 3
    # The file has a column `nickname`, which was not declared when it was written.
    changed = TRUNK | {"country_code": "DE", "nickname": "Back office", "zz_floor": 3}
    api.answer([changed, trunk(id=44, nickname=None), IP_TRUNK])
    account = only(load(with_reports=True))
    assert (account.new_count, account.changed_count, account.removed_count) == (1, 1, 0)
    assert stored < closed_versions(path)
    assert read(path, "SELECT nickname, zz_floor FROM sip_trunks WHERE id = 42") == [("Back office", 3)]
    assert read(path, "SELECT count(*) FROM sip_trunks_history WHERE id = 44") == [(1,)]
    assert_history_is_sound(path)


def test_findings_of_earlier_releases_are_carried_over(api: Api, place: Path) -> None:
    """It logged them in `reports.audit_findings` and had fewer rules. The response of the next run is unchanged."""
    path = place / "data" / "warehouse.duckdb"
    api.answer([OPEN, TRUNK, trunk(id=9, country_code="XX")])
    first = load(with_reports=True).snapshot_at
    api.answer([OPEN, TRUNK, trunk(id=9, country_code="DE")])
    load(with_reports=True)
    ((unknown,),) = read(path, "SELECT min(rule) FROM findings WHERE rule <> 'allowlist-open'")
    with duckdb.connect(path) as connection:
        connection.execute(f"""
            CREATE TABLE reports.audit_findings AS
            SELECT * EXCLUDE (nickname, opened_at, closed_at, closed_because, is_new_rule), opened_at AS first_seen_at,
                opened_at AS last_seen_at, closed_at IS NULL AS is_current
            FROM famulor.findings_history WHERE rule <> '{unknown}';
            DROP VIEW findings; DROP VIEW findings_history; DROP VIEW audited_rules;
            DROP TABLE famulor.findings_history; DROP TABLE famulor.audited_rules;
            CREATE VIEW findings AS FROM reports.audit_findings WHERE is_current
        """)
    outcome = load(with_reports=True)
    assert only(outcome).status == "unchanged"
    lives = "SELECT trunk_id, opened_at, closed_because, is_new_rule FROM findings_history WHERE rule = "
    assert read(path, f"{lives}'allowlist-open'") == [(43, first, None, False)]
    assert read(path, f"{lives}'country-unknown'") == [(9, first, "fixed", False)]
    # A rule without a finding in the log counts as new, and its findings as no news.
    new = read(path, f"{lives}'{unknown}'")
    assert new == [(trunk_id, outcome.snapshot_at, None, True) for trunk_id, *_ in new] != []
    assert outcome.findings is not None
    counts = {found.rule: (found.new_count, found.new_rule_count) for found in outcome.findings}
    assert counts[unknown] == (0, len(new))
    assert sum(news for news, _ in counts.values()) == 0
    assert f"{len(new)} finding" in describe_run(summarize(outcome))
    with pytest.raises(duckdb.CatalogException):
        read(path, "FROM reports.audit_findings")
