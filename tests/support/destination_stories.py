"""What every destination promises of data that goes, or goes on under another name: stories of many commands each."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import Account, read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.operations.renaming import rename_account
from sip_trunks.operations.retention import compact
from sip_trunks.operations.unfinished import noting_unfinished
from sip_trunks.run.run import run
from sip_trunks.warehouse.rewriting import Deletion, Renaming, rows_of
from tests.support import story
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.destination_contract import (
    ACCOUNTS,
    FIRST,
    Destination,
    assert_whole,
    load_trunks,
    reading,
)
from tests.support.past import store, tables_of
from tests.support.runs import call, load, query
from tests.support.transfers import answers
from trunk_transforms import schema

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

    Rows = list[tuple[Any, ...]]
    Trunks = list[dict[str, Any]]

NUMBER, OTHER_NUMBER = "+49305550177", "+49305550188"


class DestinationStories(Destination):
    """The tests of any destination that take long."""

    # ------------------------------------------------------------------ findings

    def test_findings_have_lives_that_are_exported_pruned_and_forgotten(self, api: Api, place: Path) -> None:
        wide = IP_TRUNK | {"allowed_inbound_ips": ["0.0.0.0/0"]}
        lives = (
            "SELECT trunk_id, opened_at, closed_at, closed_because, is_new_rule FROM findings_history "
            "WHERE rule = 'allowlist-open' ORDER BY ALL"
        )

        def run_on(*trunks: dict[str, Any]) -> tuple[datetime, dict[str, tuple[int, int, int, int]]]:
            outcome = load_trunks(api, *trunks, with_reports=True)
            assert outcome.snapshot_at is not None
            assert outcome.findings is not None
            counts = {f.rule: (f.finding_count, f.cause_count, f.new_count, f.added_count) for f in outcome.findings}
            return outcome.snapshot_at, counts

        first, counts = run_on(TRUNK, wide, wide | {"id": 50, "phone_number": "+14155551298"})
        assert counts["allowlist-open"] == (2, 1, 2, 0)
        second, _ = run_on(TRUNK, IP_TRUNK)
        third, counts = run_on(TRUNK, wide)
        assert counts["allowlist-open"] == (1, 1, 1, 0)
        # One more trunk of a known cause.
        fourth, counts = run_on(TRUNK, wide, wide | {"id": 51, "phone_number": "+14155551297"})
        assert counts["allowlist-open"] == (2, 1, 1, 1)
        stored = [
            (43, first, second, "fixed", False),
            (43, third, None, None, False),
            (50, first, second, "trunk removed", False),
            (51, fourth, None, None, False),
        ]
        assert query(lives) == stored
        opened = "SELECT trunk_id, opened_at FROM findings WHERE rule = 'allowlist-open' ORDER BY ALL"
        assert query(opened) == [(43, third), (51, fourth)]
        found = json.loads(call("audit", "--select", "allowlist-open", "--format", "json"))
        assert [datetime.fromisoformat(finding["opened_at"]) for finding in found] == [third, fourth]

        (place / ".dlt").mkdir(exist_ok=True)
        (place / ".dlt" / "config.toml").write_text(
            "[[sip_trunks.suppressions]]\n"
            'rule = "allowlist-open"\ntrunk_id = 43\nreason = "a test"\nuntil = 2999-01-01\n'
        )
        fifth, _ = run_on(TRUNK, wide, wide | {"id": 51})
        stored[1] = (43, third, fifth, "suppressed", False)
        assert query(lives) == stored
        call("export", "--output", "copy", "--as-of", fourth.isoformat())
        limit = fourth + (fifth - fourth) / 2
        days = f"{(datetime.now(UTC) - limit) / timedelta(days=1):.9f}d"
        call("prune", "--older-than", days, "--yes")
        assert query(lives) == [stored[1], stored[3]]
        call("accounts", "forget", "default", "--yes")
        call("import", "copy")
        # The copy has the lives as of then; the suppression is in force now.
        stored[1] = (43, third, fourth, "suppressed", False)
        assert query(lives) == stored

    # ------------------------------------------------------------------ what goes

    def test_prune_deletes_the_past_and_changes_no_later_moment(self) -> None:
        settings, limits, at = read_settings(), story.LIMITS, story.at
        store(settings, story.STORY)
        before = {limit: [*map(str, story.tell(settings, limit))] for limit in limits}
        stored = self.contents()
        days = f"{(datetime.now(UTC) - limits[0]) / timedelta(days=1):.3f}d"
        shown = call("prune", "--older-than", days)
        assert "--yes" in shown
        assert self.contents() == stored

        def counts(printed: str) -> list[list[str]]:
            return sorted(line.split() for line in printed.splitlines() if line.startswith("s") and "_" in line)

        assert counts(call("prune", "--older-than", days, "--yes")) == counts(shown)
        assert ["sip_trunks_history", "6"] in counts(shown)
        assert ["sip_trunk_snapshots", "7"] in counts(shown)
        assert [*map(str, story.tell(settings, limits[0]))] == before[limits[0]]
        with reading() as kept:
            assert kept.rows(f"SELECT count(*) FROM sip_trunks_history WHERE valid_to <= '{limits[0]}'") == [(0,)]
            # Versions that were there for longer do not show what was there beside them.
            assert kept.rows("SELECT min(valid_from) FROM sip_trunks_history WHERE account = 'acme'") == [(at(0),)]
            ours = kept.rows(f"SELECT count(*) FROM trunks_as_of('{at(1.5)}') WHERE account IN ('acme', 'idle')")
            assert ours == [(0,)]
            known = kept.rows(f"SELECT DISTINCT account FROM trunks_as_of('{at(2.1)}') ORDER BY account")
            assert known == [("idle",), ("left",)]

        story.drop_before(settings, limits[1])
        assert [*map(str, story.tell(settings, limits[1]))] == before[limits[1]]
        assert not any(story.drop_before(settings, limits[1]).values())
        observations = query("SELECT account, snapshot_at FROM sip_trunk_snapshots ORDER BY ALL")
        assert [(name, round((when - story.NOON) / timedelta(days=1), 2)) for name, when in observations] == [
            ("acme", 4), ("acme", 4.1), ("acme", 5), ("idle", 2), ("idle", 4.1), ("left", 0.2), ("new", 5),
        ]  # fmt: skip

    def test_accounts_are_forgotten_without_a_trace_and_imported_again(self, api: Api) -> None:
        settings = read_settings()
        forgotten = [IP_TRUNK | {"id": 1, "phone_number": NUMBER, "sip_username": "forget-me"}]
        kept = [IP_TRUNK | {"id": 2, "phone_number": OTHER_NUMBER}, trunk(id=3)]
        store(settings, [("wanderer_1", datetime(2026, 3, 1, tzinfo=UTC), forgotten)])
        # The number is history after this run.
        api.answer_to("token-w", [trunk(id=9)])
        api.answer_to("token-k", kept)
        accounts = [Account("wanderer_1", "token-w"), Account("kept", "token-k")]
        assert run(settings, accounts, with_reports=False).exit_code == 0
        assert self.places_with(NUMBER)
        assert self.places_with("wanderer_1")
        call("export", "--output", "copy")
        everything, of_kept = self.rows_of_trunks(), self.rows_of_trunks("account = 'kept'")

        def forget_wanderer() -> None:
            printed = call("accounts", "forget", "wanderer_1", "--yes")
            assert "sip_trunks_history" in printed
            assert "backups" in printed
            for text in (NUMBER, "forget-me", "wanderer_1"):
                assert self.places_with(text) == set(), text
            assert self.places_with(OTHER_NUMBER)
            assert self.rows_of_trunks() == of_kept
            assert "stored: kept" in call("accounts", "forget", "wanderer_1", "--yes", code=2)

        forget_wanderer()
        # Without any account it is as empty as before the first run.
        call("accounts", "forget", "kept", "--yes")
        assert self.places_with(OTHER_NUMBER) == set()
        self.assert_empty()
        assert [account["snapshot_at"] for account in json.loads(call("status", "--json"))["accounts"]] == [None]
        call("import", "copy")
        assert self.rows_of_trunks() == everything
        # The import has written reports, where reports are stored: the account is to vanish from them as well.
        forget_wanderer()
        assert_whole(kept)
        api.answer_to("token-k", kept[:1])
        assert run(settings, accounts[1:], with_reports=False).exit_code == 0
        assert_whole(kept[:1])
        assert query("SELECT count(*) FROM sip_trunk_snapshots") == [(2,)]

    @pytest.mark.usefixtures("accounts")
    @pytest.mark.parametrize("is_deleted", [False, True])
    def test_a_killed_command_that_forgets_an_account_is_finished_by_calling_it_again(
        self, api: Api, is_deleted: bool
    ) -> None:
        """As a command leaves it that dies before or after its rows are deleted; test_kills.py kills it anywhere."""
        api.answer_to("token-a", [trunk(id=1)])
        api.answer_to("token-b", [IP_TRUNK | {"id": 2, "phone_number": NUMBER, "sip_username": "forget-me"}])
        assert load().exit_code == 0
        settings, of_acme = read_settings(), self.rows_of_trunks("account = 'acme'")
        destination = open_destination(settings)
        with holding_lock(settings), ExitStack() as stack:
            stack.enter_context(noting_unfinished(settings, destination, "beta"))
            if is_deleted:
                compact(settings, destination, Deletion(rows_of("beta")))
            stack.pop_all()  # the commands of this block did not end as planned
        assert "accounts forget beta was killed; run it again" in call("status")
        assert "no account named 'nobody'" in call("accounts", "forget", "nobody", "--yes", code=2)
        call("accounts", "forget", "beta", "--yes")
        assert self.places_with(NUMBER) == self.places_with("forget-me") == set()
        assert self.rows_of_trunks("account = 'acme'") == of_acme
        assert "was killed" not in call("status")
        assert "stored: acme" in call("accounts", "forget", "beta", "--yes", code=2)

    # ------------------------------------------------------------------ renamed accounts

    def test_a_renamed_account_has_the_versions_that_runs_under_its_new_name_would_have_stored(self) -> None:
        """Of rows with columns that came later, columns that are gone, and values of the wrong type."""
        settings, given = read_settings(), answers()
        store(settings, given, with_reports=open_destination(settings).publishes_reports)
        of_beta, findings = self.rows_of_trunks("account = 'beta'"), findings_of("acme")
        printed = call("accounts", "rename", "acme", "zeta")
        assert all(table in printed for table in ("sip_trunks_history", "schema_drift", "backups and exports"))
        assert self.rows_of_trunks("account = 'beta'") == of_beta
        assert findings_of("zeta") == findings
        expected = tables_of([(name.replace("acme", "zeta"), moment, trunks) for name, moment, trunks in given])
        with reading() as stored:
            for table in (*schema.REQUIRED_TABLES, schema.SIP_TRUNK_SNAPSHOT_ROWS):
                if not stored.rows(f"SELECT 1 FROM duckdb_columns() WHERE table_name = '{table.name}'"):
                    continue
                key = [name for name in (*table.primary_key, "row_version") if name in table.names]
                rows = expected[table.name].select(key).to_pylist()
                found = stored.rows(f"SELECT {', '.join(key)} FROM famulor.{table.name}")
                assert sorted(found) == sorted(tuple(row.values()) for row in rows), table.name
        assert "stored: beta, zeta" in call("accounts", "rename", "acme", "other", code=2)
        assert "already has an account named 'beta'" in call("accounts", "rename", "zeta", "beta", code=2)

    @pytest.mark.usefixtures("accounts")
    def test_a_killed_command_that_renames_an_account_is_finished_by_calling_it_again(self, api: Api) -> None:
        """As a command leaves it that dies at its very end; test_kills.py kills it anywhere."""
        for account, token in ACCOUNTS.items():
            api.answer_to(token, [*FIRST, IP_TRUNK | {"id": 60, "nickname": account}])
        assert load().exit_code == 0
        settings, destination = read_settings(), open_destination(read_settings())
        with holding_lock(settings), ExitStack() as stack:
            stack.enter_context(noting_unfinished(settings, destination, "beta", "gamma"))
            rename_account(settings, destination, Renaming("beta", "gamma"))
            stack.pop_all()  # the commands of this block did not end as planned
        assert "accounts rename beta gamma was killed; run it again" in call("status")
        assert "no account named 'nobody'" in call("accounts", "rename", "nobody", "gamma", code=2)
        call("accounts", "rename", "beta", "gamma")
        assert query("SELECT DISTINCT account FROM sip_trunks ORDER BY 1") == [("acme",), ("gamma",)]
        assert "was killed" not in call("status")
        assert "already has" in call("accounts", "rename", "acme", "gamma", code=2)


def findings_of(account: str) -> Rows:
    """Return the open findings of an account; none if it was not audited."""
    if not query("SELECT 1 FROM duckdb_views() WHERE view_name = 'findings'"):
        return []
    columns = "trunk_id, rule, severity, opened_at"
    return query(f"SELECT {columns} FROM findings WHERE account = '{account}' ORDER BY ALL")
