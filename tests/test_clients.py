"""Clients of all kinds read what is published, as docs/clients.md says, and none of them notices a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.builders import IP_TRUNK, trunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.conftest import Api

PROJECT = Path(__file__).resolve().parent.parent

Look = tuple[int, str]
"""How many snapshots there had been, and when the last one was."""


# ---------------------------------------------------------------------- nobody notices a run

# In turn, one trunk comes and goes, one is changed and back, an allowlist grows and shrinks.
SNAPSHOTS = (
    [trunk(id=n, country_code="DE") for n in range(10)] + [IP_TRUNK],
    [trunk(id=n, country_code="GB") for n in range(12)] + [IP_TRUNK | {"allowed_inbound_ips": ["203.0.113.10"]}],
    [trunk(id=n, country_code="FR") for n in range(9)] + [IP_TRUNK | {"allowed_inbound_ips": ["::1", "192.0.2.1"]}],
)


def load(api: Api, step: int, destination: str, *, with_reports: bool) -> None:
    api.answer(SNAPSHOTS[step % len(SNAPSHOTS)])
    settings = read_settings(destination)
    outcome = run(settings, pick_accounts(settings, []), with_reports=with_reports)
    assert outcome.exit_code == 0, outcome


@contextmanager
def watching(kinds: Sequence[str], rest: Mapping[str, float]) -> Iterator[dict[int, list[Look]]]:
    """Have readers look (tests/watcher.py); each has begun when the block does, and its looks are there at its end."""
    stop = Path("stop")
    Path("snapshots.json").write_text(json.dumps(SNAPSHOTS))
    looks: dict[int, list[Look]] = {}
    with ExitStack() as stack:
        readers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.watcher", kind, str(rest[kind])],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"PYTHONPATH": str(PROJECT)},
                )
            )
            for kind in kinds
        ]
        try:
            begun = [reader.stdout.readline() for reader in readers if reader.stdout]
            if all(begun):
                yield looks
        finally:
            stop.touch()
            told = [reader.communicate() for reader in readers]
        for number, (reader, (printed, complaint)) in enumerate(zip(readers, told, strict=True)):
            assert reader.returncode == 0, f"{kinds[number]}: {complaint}"
            looks[number] = [(count, latest) for count, latest in json.loads(printed)]


def assert_forward(looks: Sequence[Look], last: int, *, is_patient: bool = False) -> None:
    """Assert that a reader looked often enough, saw the world change, and never went back in time."""
    assert len(looks) > 2
    assert all(earlier <= later for earlier, later in pairwise(looks))
    if is_patient:
        assert set(looks) == {looks[0]}
    else:
        assert looks[0][0] < looks[-1][0] <= last


def test_eight_readers_of_the_file_see_one_whole_snapshot_each_time_while_twenty_runs_change_it(
    api: Api, place: Path
) -> None:
    kinds = ["file"] * 7 + ["patient"]
    load(api, 0, "duckdb", with_reports=True)
    with watching(kinds, {"file": 14, "patient": 14}) as looks:
        for step in range(1, 21):
            load(api, step, "duckdb", with_reports=step in (7, 14))
    for number, kind in enumerate(kinds):
        assert_forward(looks[number], 21, is_patient=kind == "patient")


def test_four_readers_of_the_lake_see_one_whole_snapshot_each_time_while_eight_runs_change_it(
    api: Api, place: Path
) -> None:
    kinds = ["lake", "lake", "folder", "folder"]
    load(api, 0, "parquet", with_reports=True)
    with watching(kinds, {"lake": 0.5, "folder": 2}) as looks:
        for step in range(1, 9):
            load(api, step, "parquet", with_reports=step == 4)
    for number in range(len(kinds)):
        assert_forward(looks[number], 9)
