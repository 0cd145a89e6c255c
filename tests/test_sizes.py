"""How much room is taken, and how that has grown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pipelines.cli import main
from pipelines.settings import read_settings
from pipelines.sizes import note_size, read_growth
from tests.builders import trunk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Begin


def day(ago: int) -> str:
    return f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%d}"


@pytest.mark.parametrize(
    ("noted", "since"),
    [((0,), None), ((1, 0), 1), ((90, 31, 29, 1, 0), 29), ((90, 60), 60), ((), None)],
)
def test_growth_is_told_since_a_day_some_thirty_ago(noted: tuple[int, ...], since: int | None, place: Path) -> None:
    settings = read_settings()
    settings.state_dir.mkdir(parents=True)
    sizes = {"here": {day(ago): 1000 + ago for ago in noted}}
    (settings.state_dir / "sizes.json").write_text(json.dumps(sizes))
    expected = None if since is None else {"since": day(since), "bytes": 500 - since}
    assert read_growth(settings, "here", 1500) == expected
    assert read_growth(settings, "elsewhere", 1500) is None


def test_a_size_is_noted_once_a_day_and_status_tells_of_it(
    begin: Begin, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(trunk())
    file, noted = place / "data" / "warehouse.duckdb", place / "data" / "state" / "sizes.json"
    noted.write_text(json.dumps({str(file): {day(n): 1 for n in range(1, 500)}}))
    note_size(read_settings())
    sizes = json.loads(noted.read_text())[str(file)]
    assert (len(sizes), sizes[day(0)]) == (400, file.stat().st_size)
    noted.write_text(json.dumps({str(file): {day(0): 5, day(2): 1000}}))
    note_size(read_settings())
    assert json.loads(noted.read_text())[str(file)][day(0)] == 5
    assert main(["status"]) == 0
    assert f" MB more than {day(2)})" in capsys.readouterr().out
    assert main(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["growth"] == {"since": day(2), "bytes": file.stat().st_size - 1000}
    noted.write_text('{"x": [')
    assert main(["status"]) == 0
