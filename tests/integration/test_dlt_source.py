"""`famulor()` in a pipeline of one's own: complete snapshots, or one clear refusal before the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.support.builders import IP_TRUNK, TRUNK
from tests.support.runs import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.api import Api


@pytest.fixture
def pipeline(place: Path) -> Callable[..., Any]:
    import dlt

    def open_pipeline(destination: Any) -> Any:
        return dlt.pipeline(
            "mine", pipelines_dir=str(place / "pipelines"), destination=destination, dataset_name="famulor"
        )

    return open_pipeline


def source(api: Api) -> Any:
    from sip_trunks.famulor import famulor

    return famulor(api_token=TOKEN, base_url=api.base_url)


def test_two_snapshots_leave_each_trunk_once_and_close_what_is_gone(
    place: Path, api: Api, pipeline: Callable[..., Any]
) -> None:
    import dlt

    for trunks in ([TRUNK, IP_TRUNK], [TRUNK]):
        api.answer(trunks)
        mine = source(api)
        mine.sip_trunks.add_map(lambda table: table)
        used = pipeline(dlt.destinations.duckdb(str(place / "mine.duckdb")))
        used.run(mine)
        # dlt warns of each column that it knows without its type.
        tables = used.default_schema.tables.values()
        assert [name for table in tables for name, hints in table["columns"].items() if "data_type" not in hints] == []
    with duckdb.connect(place / "mine.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT id FROM famulor.sip_trunks").fetchall() == [(42,)]
        versions = connection.execute(
            "SELECT id, valid_to IS NULL FROM famulor.sip_trunks_history ORDER BY id"
        ).fetchall()
    assert versions == [(42, True), (43, False)]


@pytest.mark.parametrize("how", ["incremental", "limit", "filter", "append", "override"])
def test_hints_that_drop_or_repeat_rows_are_refused_before_the_request(
    how: str, place: Path, api: Api, pipeline: Callable[..., Any]
) -> None:
    import dlt

    mine, options = source(api), {}
    match how:
        case "incremental":
            mine.sip_trunks.apply_hints(incremental=dlt.sources.incremental("updated_at"))
        case "limit":
            mine.add_limit(1)
        case "filter":
            mine.sip_trunks.add_filter(lambda table: len(table) > 1)
        case "append":
            mine.sip_trunks_history.apply_hints(write_disposition="append")
        case "override":
            options["write_disposition"] = "replace"
    with pytest.raises(Exception, match=r"has another write_disposition, incremental, add_limit or add_filter"):
        pipeline(dlt.destinations.duckdb(str(place / "mine.duckdb"))).run(mine, **options)
    assert api.requests == []


@pytest.mark.parametrize("destination", ["filesystem", None])
def test_a_destination_that_cannot_merge_is_refused_before_the_request(
    destination: str | None, place: Path, api: Api, pipeline: Callable[..., Any]
) -> None:
    import dlt

    to = dlt.destinations.filesystem(str(place / "lake")) if destination else None
    with pytest.raises(Exception, match=r"does not support the merge strategies|needs a pipeline with a destination"):
        pipeline(to).extract(source(api), loader_file_format="parquet")
    assert api.requests == []
    assert not (place / "lake").exists()
