"""Nothing lost, nothing invented: any records, through the real decoder, dlt and each destination, and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from tests.support.builders import IP_TRUNK, TRUNK, trunk
from tests.support.consistency import assert_history_is_sound, read, reads_back
from tests.support.runs import load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.api import Api

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
        optional={name: VALUES | st.just(IP_TRUNK[name]) for name in FIELDS} | {"zz_any": VALUES, "zz_flag": SCALARS},
    ),
    max_size=5,
    unique_by=lambda record: str(record["id"]),
)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("destination", ["duckdb", "parquet"])
@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # every example is a whole run: shrinking takes minutes
)
@given(records=RECORDS)
def test_every_value_that_was_sent_can_be_read_back(api: Api, destination: str, records: list[dict[str, Any]]) -> None:
    """Only arbitrary records find a value that a step after the decoder changes."""
    # One place for all examples: each finds the columns, types and rows that those before it left.
    api.answer(records)
    outcome = load(destination, accept_shrink=True)
    assert outcome.exit_code == 0, outcome
    with open_destination(read_settings(destination)).reading() as connection:
        result = connection.execute("SELECT * FROM sip_trunks")
        names = [column[0] for column in result.description or ()]
        stored = {row[names.index("id")]: dict(zip(names, row, strict=True)) for row in result.fetchall()}
    assert stored.keys() == {record["id"] for record in records}
    for record in records:
        row = stored[record["id"]]
        for name, value in record.items():
            assert value is None or reads_back(value, row[name], row.get(f"{name}__v_text")), (name, value)
    if destination == "duckdb":
        assert_history_is_sound(read_settings().warehouse_path)


def test_documented_records_are_stored_as_dlt_stores_dictionaries(api: Api, place: Path) -> None:
    """Only a pipeline of dlt's own shows that our columns hold what its way of loading would; it needs its process."""
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
        read_settings().warehouse_path, f"SELECT {columns} FROM famulor.sip_trunks ORDER BY id"
    )


def test_a_field_that_changes_its_type_in_every_run_is_always_stored(api: Api, place: Path) -> None:
    """Only one run after the other shows that a run knows the types of those before it."""
    for value in (5, [1, "a"], {"b": None}, "text", True, 1.5, 2**64, None, 6):
        api.answer([trunk(zz_shifting=value)])
        assert load().exit_code == 0
    path = read_settings().warehouse_path
    rows = read(path, "SELECT zz_shifting, zz_shifting__v_text FROM sip_trunks_history ORDER BY valid_from")
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
    assert_history_is_sound(path)
