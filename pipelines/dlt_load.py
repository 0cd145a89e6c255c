"""One load by dlt: from resources into a destination, and its errors as ours."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines import catalog
from pipelines.errors import DestinationFailed, describe_error
from pipelines.progress import adopt_dlt_log
from pipelines.settings import use_dlt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa
    from dlt.extract import DltResource, DltSource

    from pipelines.destination import Load
    from pipelines.settings import Settings

PIPELINE = "sip_trunks"


def load_with_dlt(
    settings: Settings,
    destination: Callable[[], Any],
    source: Callable[[], DltSource],
    config: Mapping[str, str] | None = None,
) -> None:
    """Run one dlt pipeline; destination and source are made once dlt is set up, `config` holds for this run.

    Raises DestinationFailed.
    """
    use_dlt(settings)
    import dlt
    from dlt.common.exceptions import DltException

    adopt_dlt_log()
    try:
        with _in_environment(config or {}):
            pipeline = dlt.pipeline(
                PIPELINE,
                pipelines_dir=str(settings.state_dir / "dlt"),
                destination=destination(),
                dataset_name=catalog.DATASET,
            )
            pipeline.run(source())
    except DltException as error:
        cause = _root_cause(error)
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        raise DestinationFailed(f"dlt could not load the snapshot: {_without_values(cause)}") from error


@contextmanager
def _in_environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def merging_source(load: Load) -> DltSource:
    """Return the source that merges a load into tables, for destinations that can."""
    from pipelines.famulor.source import build_source, tables_of

    tables = tables_of(load.snapshots, load.looks, load.snapshot_at)
    return build_source(lambda: tables, accounts=load.accounts, snapshot_at=load.snapshot_at)


def appending_source(tables: Mapping[str, pa.Table]) -> DltSource:
    """Return the source that writes whole tables as they are; a row without a `_dlt_load_id` gets this load's."""
    import dlt
    from dlt.common.configuration.container import Container
    from dlt.common.storages.load_package import LoadPackageStateInjectableContext

    def rows(name: str) -> Iterator[pa.Table]:
        load_id = Container()[LoadPackageStateInjectableContext].load_id
        yield _with_load_id(tables[name], load_id)

    @dlt.source(name="famulor")
    def famulor() -> list[DltResource]:
        return [dlt.resource(rows, name=name, write_disposition="append")(name) for name in tables]

    return famulor()


def _with_load_id(table: pa.Table, load_id: str) -> pa.Table:
    import pyarrow.compute as pc

    index = table.schema.get_field_index("_dlt_load_id")
    return table.set_column(index, table.schema.field(index), pc.fill_null(table["_dlt_load_id"], load_id))


def _without_values(error: BaseException) -> str:
    """Return the error as one line; where DuckDB quotes a value that came from the API, only its kind."""
    import duckdb

    if isinstance(error, duckdb.DataError):
        return f"DuckDB refused a value ({type(error).__name__}); please report it"
    return describe_error(error)


def _root_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
