"""One load with dlt: the sources that a load reads, the run of the pipeline, and dlt's errors as DestinationError."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from sip_trunks.core.dlt_runtime import dlt_environment
from sip_trunks.core.errors import DestinationError, SipTrunksError, describe_error, first_line
from sip_trunks.core.process import changed_environment
from sip_trunks.warehouse import sql
from trunk_transforms import schema
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import pyarrow as pa
    from dlt.extract import DltResource, DltSource

    from sip_trunks.core.settings import Settings
    from trunk_transforms.parse.batch import SnapshotBatch

PIPELINE = "sip_trunks"
KEEPING_LOAD_IDS = {"NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false"}
"""For `writing_source`: rows that were stored before keep their `_dlt_load_id`."""


class Loaded(NamedTuple):
    """The id that dlt gave a load, and the hash of its schema."""

    load_id: str
    schema_hash: str


def load_with_dlt(
    settings: Settings,
    destination: Callable[[Any], Any],
    source: Callable[[], DltSource],
    config: Mapping[str, str] | None = None,
    loader_file_format: Any = None,
    dataset: str = sql.DATASET,
) -> Loaded:
    """Run one dlt pipeline and return the id of the load.

    `destination`, which gets `dlt.destinations`, and `source` are called after dlt is configured. `config` is valid
    for this run only. Raises DestinationError.
    """
    discard_dlt_folder(settings)
    with dlt_environment(settings), changed_environment(config or {}):
        import dlt
        from dlt.common.exceptions import DltException

        try:
            pipeline = dlt.pipeline(
                PIPELINE,
                pipelines_dir=str(settings.state_dir / "dlt"),
                destination=_with_cached_configuration(destination(dlt.destinations)),
                dataset_name=dataset,
            )
            info = pipeline.run(source(), loader_file_format=loader_file_format)
        except DltException as error:
            _raise_failure("dlt could not load the snapshot", error)
        return Loaded(str(info.loads_ids[0]), str(pipeline.default_schema.version_hash))


def _with_cached_configuration(destination: Any) -> Any:
    """Return dlt's destination, which resolves the configuration behind its capabilities once per load.

    dlt would resolve the whole configuration about fifty times in a run, which takes an eighth of a small load.
    """
    resolve = destination.configuration
    resolved: list[Any] = []

    def configuration(config: Any, accept_partial: bool = False) -> Any:
        if not accept_partial:
            return resolve(config)
        if not resolved:
            resolved.append(resolve(config, accept_partial=True))
        return resolved[0]

    destination.configuration = configuration
    return destination


def discard_dlt_folder(settings: Settings) -> None:
    """Delete dlt's working folder: an interrupted load is never resumed."""
    shutil.rmtree(settings.state_dir / "dlt", ignore_errors=True)


def merging_source(batch: SnapshotBatch, *, with_observations: bool = True) -> DltSource:
    """Return the source that merges whole snapshots into tables, including tables that an interrupted load changed.

    Without observations, their table gets its columns, but no rows.
    """
    from sip_trunks.famulor.source import build_source, merging_snapshots, tables_of

    tables = tables_of(batch.snapshots, batch.observations, batch.snapshot_at)
    if not with_observations:
        name = schema.SIP_TRUNK_SNAPSHOTS.name
        tables[name] = [rows.slice(0, 0) for rows in tables[name]]
    return build_source(tables.pop, merging_snapshots(batch.accounts_by_list, batch.snapshot_at))


def changing_source(batch: SnapshotBatch, stale: Mapping[schema.Resource, str]) -> DltSource:
    """Return the source that writes only the changes of the snapshots, into tables that agree with each other.

    `stale` names tables at the destination with the keys of the stored rows that have changed or disappeared; it has
    only the resources with such rows. Empties `batch.snapshots` to free memory.
    """
    from sip_trunks.famulor.source import build_source, merging_changes, tables_of
    from trunk_transforms.parse.snapshot import pick_rows

    fresh = [
        pick_rows(snapshot, known.is_fresh) for snapshot, known in zip(batch.snapshots, batch.differences, strict=True)
    ]
    resources = [*batch.accounts_by_list]
    batch.snapshots.clear()
    tables = tables_of(fresh, batch.observations, batch.snapshot_at)
    return build_source(tables.pop, merging_changes(resources, stale, batch.snapshot_at))


def writing_source(
    tables: Mapping[str, pa.Table], replaced: Collection[str] = (), table_format: Any = None
) -> DltSource:
    """Return the source that writes whole tables: it replaces the tables in `replaced` and appends to the others.

    A row without a `_dlt_load_id` gets the id of this load.
    """
    import dlt
    import pyarrow.compute as pc
    from dlt.common.configuration.container import Container
    from dlt.common.storages.load_package import LoadPackageStateInjectableContext

    from sip_trunks.famulor.source import with_hints

    def rows(name: str) -> Iterator[pa.Table]:
        load_id = Container()[LoadPackageStateInjectableContext].load_id
        table = tables[name]
        index = table.schema.get_field_index("_dlt_load_id")
        filled = pc.fill_null(table["_dlt_load_id"], load_id)
        yield with_hints(table.set_column(index, table.schema.field(index), filled))

    @dlt.source(name="famulor")
    def famulor() -> list[DltResource]:
        return [
            dlt.resource(
                rows,
                name=name,
                write_disposition="replace" if name in replaced else "append",
                table_format=table_format,
            )(name)
            for name in tables
        ]

    return famulor()


@contextmanager
def using_dlt(settings: Settings) -> Iterator[None]:
    """Configure dlt; errors of dlt and of drivers become DestinationError, without passwords and values."""
    try:
        with dlt_environment(settings):
            yield
    except (SipTrunksError, InvalidResponseError, OSError, NameError, TypeError, AttributeError):
        raise
    except Exception as error:  # noqa: BLE001 - every driver has errors of its own
        _raise_failure(f"{settings.destination} cannot be used", error)


def _raise_failure(what: str, error: Exception) -> NoReturn:
    """Raise the error as DestinationError in one line, without the values and passwords that its text may quote."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, KeyboardInterrupt):
        raise cause from None
    safe = _describe_without_text(cause)
    text = describe_error(cause) if isinstance(cause, OSError) else safe or first_line(cause) or type(cause).__name__
    raise DestinationError(f"{what}: {text}") from (None if safe else error)


def _describe_without_text(error: BaseException) -> str | None:
    """Return a description of an error whose own text may quote a value or a password; None if the text is safe."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # as every database driver names them
    name = type(error).__name__
    if kinds & {"DataError", "IntegrityError"}:
        return f"the database refused a value ({name}); please report it"
    if name == "MissingDependencyException":
        return "its driver is not installed; run pip install '.[postgres]', or install dlt's extra for the database"
    if name == "ConfigFieldMissingException" or any(word in str(error) for word in ("dsn", "URL")):
        return (
            f"its credentials are missing or not valid ({name}); set them as dlt expects, for example "
            "DESTINATION__POSTGRES__CREDENTIALS=postgresql://user:password@host:5432/database"
        )
    if any(word in str(error) for word in ("@", "://")):
        return f"{name}; the text of the error is omitted, because it may contain credentials"
    return None
