"""What a run costs, counted and not timed: calls, statements, jobs, bytes. Machines differ, these numbers do not."""

from __future__ import annotations

from collections import Counter
from cProfile import Profile
from functools import cache
from typing import TYPE_CHECKING, Any

from sip_trunks.commands import main
from tests.bench.answer import trunk

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.api import Api

EXECUTE = "<built-in method _duckdb.execute>"
FEW, MANY = 10_000, 20_000  # one batch of the decoder, and two


@cache
def trunks(count: int) -> list[dict[str, Any]]:
    return [trunk(serial) for serial in range(count)]


def run(api: Api, answered: list[dict[str, Any]], *arguments: str) -> Counter[str]:
    """Run the command on these trunks; return how often each function was called, of Python's or of C's."""
    api.answer(answered)
    profile = Profile()
    assert profile.runcall(main, ["run", "--no-reports", *arguments]) == 0
    called: Counter[str] = Counter()
    for entry in profile.getstats():
        called[entry.code if isinstance(entry.code, str) else entry.code.co_name] += entry.callcount
    return called


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.suffix != ".log")


def assert_a_trunk_costs_some_bytes_and_no_call(
    api: Api, place: Path, monkeypatch: pytest.MonkeyPatch, destination: str, byte_limit: int
) -> None:
    """Load two numbers of trunks, which differ by a batch of the decoder, and compare what that takes.

    `byte_limit` is for one trunk: its current row, its history and its allowlist.
    """
    calls, sizes = [], []
    for count in (1, FEW, MANY):  # the first one imports what is imported on first use
        data_dir = place / str(count)
        monkeypatch.setenv("SIP_TRUNKS__DATA_DIR", str(data_dir))
        calls.append(run(api, trunks(count), "--destination", destination))
        sizes.append(size(data_dir))
    _, few, many = calls
    assert 0 < many.total() - few.total() < (MANY - FEW) / 5, (many - few).most_common(9)
    assert sizes[-1] < MANY * byte_limit
