"""The command `prune`, beyond what every destination promises of it: the past is gone for other commands too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.core.settings import read_settings
from tests.support.past import store
from tests.support.runs import call
from tests.support.story import STORY, at, drop_before

if TYPE_CHECKING:
    from pathlib import Path


def test_reports_and_exports_do_not_show_the_time_before(place: Path) -> None:
    settings = read_settings()
    store(settings, STORY)
    drop_before(settings, at(3))
    line = call("report", "--as-of", "2026-03-01T12:30Z", code=2)
    assert "the first snapshot is from 2026-03-01T16:48" in line
    call("export", "--as-of", at(2.1).isoformat(), "--output", "copy", "--format", "csv")
    assert "acme" not in (place / "copy" / "sip_trunks_history.csv").read_text()


def test_an_age_that_is_not_valid_is_refused(place: Path) -> None:
    for wrong in ("400", "0d", "soon", "999999999d"):
        call("prune", "--older-than", wrong, code=2)
