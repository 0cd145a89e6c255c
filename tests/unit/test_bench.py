"""The benchmarks' responses, fingerprints and targets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.bench.__main__ import conclude, limit_of
from tests.bench.answer import END, START, Moment, build_answer
from tests.bench.competitors import MERGE, OURS, REPLACE, WAYS
from tests.bench.cost import Cost
from tests.bench.installed import WAYS as SCRIPTS
from tests.bench.results import Result, Row
from tests.bench.stored import LAYOUTS, read_stored
from tests.bench.targets import COMPARED, SMALL, TARGETS, judge

if TYPE_CHECKING:
    from collections.abc import Sequence
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


def measured(**seconds: Sequence[float]) -> dict[str, Result]:
    """Return the CPU seconds of each run of ours, and of plain dlt, at a thousand trunks."""
    labels = {"ours": OURS, "dlt": MERGE}
    rows = {labels[name]: Row(labels[name], runs=[Cost(each, 0, 0) for each in cpu]) for name, cpu in seconds.items()}
    return {SMALL: Result(SMALL, "", rows)}


@pytest.mark.parametrize(
    ("ours", "verdict", "code"),
    [((8, 1, 9), "met: ", 0), ((8.5,), "met: ", 0), ((8.6,), "MISSED: ", 1), ((), "not measured: ", 0)],
)
def test_the_bench_fails_if_a_target_is_missed_by_medians(
    ours: Sequence[float], verdict: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert conclude(measured(ours=ours, dlt=(10, 2, 30))) == code
    (line,) = [line for line in capsys.readouterr().out.splitlines() if f"“{OURS}”, CPU" in line and MERGE in line]
    assert line.startswith(verdict)


def test_the_bench_says_nothing_about_what_was_not_measured_at_all() -> None:
    assert judge({}) == []


def test_slow_competitors_have_more_time_for_a_million_trunks() -> None:
    assert [limit_of(trunks) for trunks in COMPARED] == [120, 120, 120, 300]


def test_plain_dlt_is_measured_without_pandas() -> None:
    """With pandas in the environment, duckdb imports it, and every load takes half a second longer."""
    environments = {name for way in WAYS if way.runs[0].label in (MERGE, REPLACE) for name in way.environments}
    assert environments
    for name in environments:
        pins = (SCRIPTS / f"{name}.txt").read_text().splitlines()
        assert not [pin for pin in pins if pin.startswith("pandas")]
