"""What a run into the Parquet lake costs, counted and not timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.costs import assert_a_trunk_costs_some_bytes_and_no_call

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.api import Api


def test_a_trunk_costs_some_bytes_and_no_call(api: Api, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only thousands of trunks show a call that is made for each of them, or a table that is stored twice."""
    assert_a_trunk_costs_some_bytes_and_no_call(api, place, monkeypatch, "parquet", byte_limit=300)
