"""Nothing lost, nothing invented: any records, through the real decoder, dlt and DuckDB, and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.load import run
from pipelines.settings import pick_accounts, read_settings
from tests.builders import IP_TRUNK, TRUNK, trunk
from tests.consistency import assert_history_is_sound, assert_whole, read, reads_back

if TYPE_CHECKING:
    from tests.conftest import Api

pytestmark = pytest.mark.usefixtures("place")
PROJECT = Path(__file__).resolve().parent.parent


def load(with_reports: bool = False, **options: Any) -> None:
    """Run; the reports take their time, so that only a test about them has them written."""
    current = read_settings()
    outcome = run(current, pick_accounts(current, []), with_reports=with_reports, **options)
    assert outcome.exit_code == 0, outcome


def path() -> Path:
    return read_settings().warehouse_path


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abß", max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = [name for name in TRUNK if name != "id"]
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(-(2**63), 2**63 - 1)},
        optional={name: VALUES | st.just(IP_TRUNK[name]) for name in FIELDS} | {"extra": VALUES, "flag": SCALARS},
    ),
    max_size=5,
    unique_by=lambda record: str(record["id"]),
)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # every example is a whole run: shrinking takes minutes
)
@given(RECORDS)
def test_every_value_that_was_sent_can_be_read_back_from_the_file(api: Api, records: list[dict[str, Any]]) -> None:
    # One file for all examples: each finds the columns, types and rows that those before it left.
    api.answer(records)
    load(accept_shrink=True)
    with duckdb.connect(str(path()), read_only=True) as connection:
        result = connection.execute("SELECT * FROM sip_trunks")
        names = [column[0] for column in result.description or ()]
        stored = {row[names.index("id")]: dict(zip(names, row, strict=True)) for row in result.fetchall()}
    assert stored.keys() == {record["id"] for record in records}
    for record in records:
        row = stored[record["id"]]
        for name, value in record.items():
            assert value is None or reads_back(value, row[name], row.get(f"{name}__v_text")), (
                name,
                value,
            )
    assert_history_is_sound(path())


def test_documented_records_are_stored_as_dlt_stores_dictionaries(api: Api, place: Path) -> None:
    records = [trunk(id=n, phone_number=f"+1415555{n:04}", outbound_proxy=n % 2 == 0) for n in range(50)] + [
        IP_TRUNK | {"id": 99}
    ]
    api.answer(records)
    load()
    code = f"""
import dlt, json
pipeline = dlt.pipeline("own", destination=dlt.destinations.duckdb({str(place / "plain.duckdb")!r}), dataset_name="own")
rows = json.loads(open({str(place / "rows.json")!r}).read())
hints = {{"allowed_inbound_ips": {{"data_type": "json"}}}}
pipeline.run(dlt.resource(rows, name="sip_trunks", primary_key="id", write_disposition="merge", columns=hints))
"""
    (place / "rows.json").write_text(json.dumps(records))
    env = os.environ | {"DLT_DATA_DIR": str(place / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True, cwd=place)
    columns = ", ".join(TRUNK)
    assert read(place / "plain.duckdb", f"SELECT {columns} FROM own.sip_trunks ORDER BY id") == read(
        path(), f"SELECT {columns} FROM sip_trunks ORDER BY id"
    )


def test_a_field_that_is_a_scalar_then_a_list_then_an_object_is_always_stored(api: Api) -> None:
    seen: list[Any] = [5, [1, "a"], {"b": None}, "text", True, 1.5, 2**64, None, 6]
    for value in seen:
        api.answer([trunk(shifting=value)])
        load()
    rows = read(path(), "SELECT shifting, shifting__v_text FROM sip_trunks_history ORDER BY valid_from")
    assert rows == [
        (5, None),
        (None, '[1,"a"]'),
        (None, '{"b":null}'),
        (None, "text"),
        (None, "true"),
        (None, "1.5"),
        (None, str(2**64)),
        (None, None),
        (6, None),
    ]
    assert_history_is_sound(path())


def test_closed_versions_never_change(api: Api) -> None:
    closed: set[tuple[Any, ...]] = set()
    query = (
        "SELECT id, country_code, sip_username, valid_from, valid_to FROM sip_trunks_history WHERE valid_to IS NOT NULL"
    )
    for step in range(6):
        country = "DE" if step % 2 else "US"
        grown = {"nickname": f"n{step}"} if step > 2 else {}
        api.answer([trunk(country_code=country, **grown), trunk(id=50 + step), trunk(id=7)])
        load()
        now_closed = set(read(path(), query))
        assert closed <= now_closed
        closed = now_closed
        assert_history_is_sound(path())
    assert len(closed) == 5 * 2
    gaps = "SELECT count(*) FROM sip_trunks_history WHERE id = 7"
    assert read(path(), gaps) == [(1,)]


def test_readers_of_every_kind_see_whole_snapshots_while_runs_go_on(api: Api, place: Path) -> None:
    snapshots = [[trunk(id=n, country_code=str(step)) for n in range(10)] for step in range(4)]
    api.answer(snapshots[0])
    load()
    command = str(Path(sys.executable).with_name("sip-trunks"))
    stop = threading.Event()
    problems: list[str] = []
    reads = 0

    def look() -> None:
        nonlocal reads
        arguments = [
            ["sql", "SELECT count(DISTINCT country_code) AS c, count(*) AS n FROM sip_trunks", "--format", "csv"],
            ["report", "counts"],
            ["status"],
        ]
        while not stop.is_set():
            for argument in arguments:
                done = subprocess.run([command, *argument], capture_output=True, text=True)
                if done.returncode or (argument[0] == "sql" and done.stdout != "c,n\n1,10\n"):
                    problems.append(done.stdout + done.stderr)
                reads += 1

    with duckdb.connect(str(path()), read_only=True) as patient:
        patient.execute("BEGIN")
        first = patient.execute("SELECT DISTINCT country_code FROM sip_trunks").fetchall()
        reader = threading.Thread(target=look)
        reader.start()
        try:
            for snapshot in snapshots[1:]:
                api.answer(snapshot)
                # In a process of its own: this one holds the old file open.
                done = subprocess.run([command, "run", "--no-reports"], capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
        finally:
            stop.set()
            reader.join()
        assert patient.execute("SELECT DISTINCT country_code FROM sip_trunks").fetchall() == first == [("0",)]
    assert problems == []
    assert reads > 3
    assert_whole(path(), snapshots[-1])


def test_two_runs_at_once_are_one_run_and_one_refusal(api: Api, place: Path) -> None:
    command = str(Path(sys.executable).with_name("sip-trunks"))
    api.answer(b"", 503, Retry_After="1")
    first = subprocess.Popen([command, "run", "--no-reports"], stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    with first.stderr:
        assert any("attempt 2" in line for line in first.stderr)
        second = subprocess.run([command, "run"], capture_output=True, text=True)
        assert second.returncode == 6
        assert f"process {first.pid}" in second.stderr
        assert "active now" in subprocess.run([command, "status"], capture_output=True, text=True).stdout
        api.answer([TRUNK])
        assert first.wait(20) == 0
    assert_whole(path(), [TRUNK])
