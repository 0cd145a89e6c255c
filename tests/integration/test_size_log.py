"""How much room is taken, noted once a day, and what `status` says of its growth."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sip_trunks.core.settings import read_settings
from sip_trunks.run.size_log import note_size
from tests.support.builders import trunk
from tests.support.runs import call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fixtures import Begin


def test_a_size_is_noted_once_a_day_and_status_shows_the_growth(begin: Begin, place: Path) -> None:
    begin(trunk())
    file, noted = place / "data" / "warehouse.duckdb", place / "data" / "state" / "sizes.json"

    def sizes_after(sizes: dict[str, int]) -> dict[str, int]:
        noted.write_text(json.dumps({str(file): sizes}))
        note_size(read_settings())
        found: dict[str, int] = json.loads(noted.read_text())[str(file)]
        return found

    # Days that are over, so that it does not matter if midnight passes while this runs.
    now = datetime.now(UTC)
    days = [f"{now - timedelta(days=n):%Y-%m-%d}" for n in range(1, 500)]
    sizes = sizes_after(dict.fromkeys(days, 1))
    assert (len(sizes), max(sizes) > days[0], sizes[max(sizes)]) == (400, True, file.stat().st_size)
    coming = {f"{now + timedelta(days=n):%Y-%m-%d}": 5 for n in range(2)}
    assert sizes_after({days[1]: 1000, **coming}) == {days[1]: 1000, **coming}
    assert f" MB more than {days[1]})" in call("status")
    status = json.loads(call("status", "--json"))
    assert status["growth"] == {"since": days[1], "bytes": file.stat().st_size - 1000}
    noted.write_text('{"x": [')
    call("status")
