"""How much a destination has grown, by the sizes that were noted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.settings import read_settings
from sip_trunks.run.size_log import read_growth

if TYPE_CHECKING:
    from pathlib import Path


def days_ago(today: datetime, number: int) -> str:
    return f"{today - timedelta(days=number):%Y-%m-%d}"


@pytest.mark.parametrize(
    ("noted", "since"),
    [((0,), None), ((1, 0), 1), ((90, 31, 29, 1, 0), 29), ((90, 60), 60), ((), None)],
)
def test_growth_is_since_a_day_at_most_thirty_ago_if_one_is_known(
    noted: tuple[int, ...], since: int | None, place: Path
) -> None:
    settings = read_settings()
    settings.state_dir.mkdir(parents=True)
    for _ in range(2):
        today = datetime.now(UTC)
        sizes = {"here": {days_ago(today, number): 1000 + number for number in noted}}
        (settings.state_dir / "sizes.json").write_text(json.dumps(sizes))
        growth = [read_growth(settings, name, 1500) for name in ("here", "elsewhere")]
        if datetime.now(UTC).date() == today.date():  # else midnight fell into it
            break
    expected = None if since is None else {"since": days_ago(today, since), "bytes": 500 - since}
    assert growth == [expected, None]
