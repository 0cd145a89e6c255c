"""The benchmarks' responses, fingerprints and targets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.bench.answer import END, START, Moment, build_answer
from tests.bench.competitors import WAYS
from tests.bench.cost import Cost
from tests.bench.results import Result, Row
from tests.bench.stored import LAYOUTS, read_stored
from tests.bench.targets import TARGETS, judge

if TYPE_CHECKING:
    from pathlib import Path

COPY = "CREATE TABLE sip_trunks AS FROM read_json(?)"


@pytest.mark.parametrize("moment", Moment)
def test_a_fingerprint_is_that_of_the_values_and_no_other(tmp_path: Path, moment: Moment) -> None:
    answer = build_answer(150, moment)
    assert len(json.loads(answer.body)["data"]) == answer.fingerprint.trunk_count == 150
    file, bare = tmp_path / "current.duckdb", tmp_path / "bare.json"
    bare.write_bytes(answer.body[len(START) : -len(END)])
    with duckdb.connect(file) as connection:
        connection.execute(COPY, [str(bare)])
    assert read_stored("one table", file) == ({"current": answer.fingerprint}, "timestamps, list")
    for column, value in (("outbound_proxy", "NOT outbound_proxy"), ("allowed_inbound_ips", "['203.0.113.1']")):
        with duckdb.connect(file) as connection:
            connection.execute(f"UPDATE sip_trunks SET {column} = {value} WHERE id = (SELECT max(id) FROM sip_trunks)")
        changed, _ = read_stored("one table", file)
        assert changed["current"] != answer.fingerprint


def test_ways_and_targets_name_what_exists() -> None:
    labels = [run.label for way in WAYS for run in way.runs]
    assert len(set(labels)) == len(labels)
    assert {way.layout for way in WAYS} - {""} <= LAYOUTS.keys()
    sized = [target for target in TARGETS if target.result.isdecimal()]
    assert {target.label for target in sized} | {target.base for target in sized} - {""} <= set(labels)


def test_a_target_is_met_by_medians() -> None:
    target = TARGETS[0]
    seconds = {target.label: (2, 9, 5), target.base: (1, 2, 3)}
    rows = {label: Row(label, runs=[Cost(each, 0, 0) for each in cpu]) for label, cpu in seconds.items()}
    (told,) = [line for line in judge({target.result: Result(target.result, "", rows)}) if target.base in line]
    assert told.startswith("met: ")
    assert told.endswith(": 2.5 ×")
