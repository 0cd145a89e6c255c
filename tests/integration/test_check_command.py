"""`check` as a user calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.builders import TRUNK
from tests.support.runs import call, capture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api


@pytest.mark.usefixtures("place")
def test_check_shows_what_is_ready_and_what_is_not(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer([TRUNK])
    assert "ok    account default: token accepted, 1 trunks" in call("check")
    api.answer(b"", 401)
    assert b"FAIL  account default" in capture("check", code=3).out
    monkeypatch.delenv("FAMULOR_API_KEY")
    assert b"FAIL  token" in capture("check", code=2).out


def test_check_compares_the_free_space_with_the_destination_in_use(api: Api, place: Path) -> None:
    api.answer([TRUNK])
    assert call("run", "--no-reports", "--destination", "parquet")
    with (place / "data" / "warehouse.duckdb").open("wb") as file:
        file.truncate(1 << 43)  # more than any disk of a machine that tests has free, and no block of it is written
    assert "ok    disk" in call("check", "--destination", "parquet")
    disk = next(line for line in capture("check", code=7).out.decode().splitlines() if " disk" in line)
    assert disk.startswith("FAIL")
    assert "warehouse.duckdb may need" in disk
