"""The benchmarks check what they measure: an answer and what was stored of it have one fingerprint."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.bench.answer import END, START, Moment, build_answer
from tests.bench.compare import environment
from tests.bench.competitors import NO_REPORTS, WAYS
from tests.bench.cost import Cost, Failed, OutOfTime, measure
from tests.bench.results import Result, Row
from tests.bench.serving import serving
from tests.bench.stored import LAYOUTS, read_stored
from tests.bench.targets import TARGETS, judge

if TYPE_CHECKING:
    from pathlib import Path

COPY = "CREATE TABLE sip_trunks AS FROM read_json('{}')"


def test_what_is_stored_has_the_fingerprint_of_what_was_served(tmp_path: Path) -> None:
    with serving([2]) as served:
        answer = served[2, Moment.FIRST]
        measure(NO_REPORTS, tmp_path, environment(tmp_path) | answer.variables())
    found, _ = read_stored("sip-trunks", tmp_path / "data" / "warehouse.duckdb")
    assert set(found.values()) == {answer.fingerprint}


@pytest.mark.parametrize("moment", Moment)
def test_a_fingerprint_is_that_of_the_values_and_no_other(tmp_path: Path, moment: Moment) -> None:
    answer = build_answer(150, moment)
    assert len(json.loads(answer.body)["data"]) == answer.fingerprint.trunk_count == 150
    file, bare = tmp_path / "current.duckdb", tmp_path / "bare.json"
    bare.write_bytes(answer.body[len(START) : -len(END)])
    with duckdb.connect(file) as connection:
        connection.execute(COPY.format(bare))
    assert read_stored("one table", file) == ({"current": answer.fingerprint}, "timestamps, list")
    for column, value in (("outbound_proxy", "NOT outbound_proxy"), ("allowed_inbound_ips", "['203.0.113.1']")):
        with duckdb.connect(file) as connection:
            connection.execute(f"UPDATE sip_trunks SET {column} = {value} WHERE id = (SELECT max(id) FROM sip_trunks)")
        changed, _ = read_stored("one table", file)
        assert changed["current"] != answer.fingerprint


def test_a_large_answer_is_made_of_pieces_in_order() -> None:
    assert build_answer(30, at_once=7) == build_answer(30)


def test_a_cost_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    child = "import time; held = bytearray(60_000_000); time.sleep(0.3); sum(range(3_000_000))"
    both = f"import subprocess, sys; two = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in 'ab']; "
    cost = measure((sys.executable, "-c", f"{both} [one.wait() for one in two]"), tmp_path, {})
    assert cost.peak_mb > 120 or sys.platform == "darwin"
    assert cost.cpu_seconds > 0.05


def test_a_command_that_fails_or_lasts_or_leaves_something_running_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"ended with 3:\nlast words"):
        measure(("sh", "-c", "echo last words; exit 3"), tmp_path, {})
    with pytest.raises(Failed, match="left processes behind"):
        measure(("sh", "-c", "sleep 60 &"), tmp_path, {})
    with pytest.raises(OutOfTime):
        measure(("sleep", "60"), tmp_path, {}, limit=0.05)


def test_ways_and_targets_name_what_exists() -> None:
    labels = [run.label for way in WAYS for run in way.runs]
    assert len(set(labels)) == len(labels)
    assert {way.layout for way in WAYS} - {""} <= LAYOUTS.keys()
    sized = [target for target in TARGETS if target.result.isdecimal()]
    assert {target.label for target in sized} | {target.base for target in sized} - {""} <= set(labels)


def test_a_target_is_judged_by_medians() -> None:
    target = TARGETS[0]
    seconds = {target.label: (2, 9, 5), target.base: (1, 2, 3)}
    rows = {label: Row(label, runs=[Cost(each, 0, 0) for each in cpu]) for label, cpu in seconds.items()}
    (told,) = [line for line in judge({target.result: Result(target.result, "", rows)}) if target.base in line]
    assert told.startswith("met: ")
    assert told.endswith(": 2.5 ×")
