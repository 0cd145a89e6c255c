"""Results that wait for their follow-up: one process at a time takes them, until one has completed it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.settings import Settings, prepare_state_dir, read_settings
from sip_trunks.run.pending import (
    follow_up_pending,
    is_page_pending,
    mark_page,
    rename_pending,
    unmark_page,
)
from sip_trunks.run.result import RuleFindings
from sip_trunks.warehouse.state import SeenDrift, StoredAccount
from tests.support.hook import NOON, QUIET, REFUSED, outcome_of

if TYPE_CHECKING:
    from pathlib import Path

DRIFT = SeenDrift("acme", "zz_invented", "new_column", "VARCHAR", 1, NOON, NOON, True)
RESULT = replace(
    outcome_of(replace(QUIET, drift=(DRIFT,)), REFUSED, exit_code=8, findings=(RuleFindings("high", "rule", 2, 1),)),
    stored={"acme": StoredAccount(NOON, 3, "sha", 1, "1", "load")},
)


class Killed(BaseException):
    """Stands for the end of a process: the system releases its locks."""


@pytest.fixture
def settings(place: Path) -> Settings:
    settings = read_settings()
    prepare_state_dir(settings)
    return settings


def note_and_die(settings: Settings) -> None:
    with suppress(Killed), follow_up_pending(settings) as (_, note):
        note(outcome_of(QUIET))
        note(RESULT)
        raise Killed


def test_a_noted_result_waits_for_the_next_run_unless_its_follow_up_is_complete(settings: Settings) -> None:
    note_and_die(settings)
    with suppress(Killed), follow_up_pending(settings) as (interrupted, _):
        assert interrupted == [RESULT]
        raise Killed
    with follow_up_pending(settings) as (interrupted, note):
        assert interrupted == [RESULT]
        note(RESULT)
        with follow_up_pending(settings) as (others, _):
            assert others == []
    assert list(settings.state_dir.iterdir()) == []


def test_the_note_of_a_run_that_published_nothing_is_deleted(settings: Settings) -> None:
    with follow_up_pending(settings) as (_, note):
        note(RESULT)
        note(None)
        assert list(settings.state_dir.iterdir()) == []


def test_a_pending_result_waits_for_its_destination_and_is_dropped_if_damaged(settings: Settings) -> None:
    note_and_die(settings)
    with follow_up_pending(replace(settings, destination="parquet")) as (interrupted, _):
        assert interrupted == []
    (noted,) = settings.state_dir.iterdir()
    noted.write_bytes(noted.read_bytes()[:-1])
    with follow_up_pending(settings) as (interrupted, _):
        assert interrupted == []
    assert list(settings.state_dir.iterdir()) == []


def test_a_forgotten_account_is_deleted_from_noted_results(settings: Settings) -> None:
    note_and_die(settings)
    rename_pending(settings, "acme", None)
    (noted,) = settings.state_dir.iterdir()
    assert b"acme" not in noted.read_bytes()
    with follow_up_pending(settings) as (interrupted, _):
        assert interrupted == [replace(RESULT, accounts=(), stored={})]


def test_a_renamed_account_has_its_new_name_in_noted_results(settings: Settings) -> None:
    note_and_die(settings)
    rename_pending(settings, "acme", "new")
    with follow_up_pending(settings) as ((result,), _):
        assert [entry.account for entry in result.accounts] == ["new", "new"]
        assert "acme" not in str(result.as_json()) + str(result.stored)
        assert result.snapshot_at == RESULT.snapshot_at


def test_a_page_is_pending_until_it_is_written(settings: Settings) -> None:
    assert not is_page_pending(settings)
    mark_page(settings)
    assert is_page_pending(settings)
    unmark_page(settings)
    assert not is_page_pending(settings)
