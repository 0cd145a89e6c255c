"""Reports on a Parquet lake with Dask, on local worker processes or on a cluster.

A task reads some accounts from one version of the lake and derives a report from them with pandas. Tasks are
independent, so the tasks of a worker that dies are repeated by another. A worker holds one partition at a time: about
`sip_trunks.dask_partition_rows` trunks, or one larger account.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from sip_trunks.core.errors import DestinationError, MissingExtraError, UsageError
from sip_trunks.core.process import changed_log_level
from sip_trunks.core.settings import Settings
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.base import PartReader
from sip_trunks.reporting.inputs import read_inputs, stored_tables
from sip_trunks.warehouse import frames, state
from trunk_transforms.reports.inputs import Options
from trunk_transforms.reports.partitioned import KEY, REPORTS_IN_PARTS, Job, PartitionedInputs
from trunk_transforms.schema.findings import FINDINGS_HISTORY
from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS

_PATIENCE_SECONDS = 15
_PAUSE_SECONDS = 0.05
_ADVICE = "they probably ran out of memory; raise sip_trunks.dask_worker_bytes, or lower sip_trunks.dask_partition_rows"
_MOST_SHUFFLED = 64
_CONFIG = {
    "dataframe.convert-string": False,
    # Workers hold phone numbers, so they keep them in memory and never spill to disk.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.admin.tick.limit": "1h",
    "distributed.logging.distributed": "critical",
    "distributed.scheduler.allowed-failures": 3,
}


@contextmanager
def reporting_in_parts(
    settings: Settings, names: Sequence[str], options: Options, *, scheduler: str | None
) -> Iterator[PartitionedInputs]:
    """Yield the inputs of these reports; Dask derives each report on request.

    Raises MissingExtraError if Dask is not installed, and UsageError if it cannot derive a report or read the
    destination, or if no scheduler responds at the address.
    """
    unfit = [name for name in names if name not in REPORTS_IN_PARTS]
    if unfit:
        raise UsageError(f"--engine dask supports {', '.join(REPORTS_IN_PARTS)}, not {unfit[0]}")
    # Workers receive the destination, so it must not hold secrets.
    destination = open_destination(replace(settings, accounts=(), pseudonym_key=b"", notify="", providers=None))
    parts = destination.part_reader()
    if parts is None:
        raise UsageError(
            f"--engine dask reads a lake of Parquet files, not {destination.location}; use --destination parquet "
            "without table_format"
        )
    with destination.reading((SIP_TRUNK_SNAPSHOTS.name, FINDINGS_HISTORY.name)) as connection:
        stored = state.read_stored_accounts(connection)
        past = options.as_of if options.is_past else None
        history = frames.read_findings(connection, past) if "audit" in names else None
        if options.by and "counts" in names:
            # An unknown column is an error here, not in a worker.
            with parts((), stored_tables(["counts"], is_past=options.is_past)) as empty:
                read_inputs(empty, ["counts"], options)
    groups = _group({name: account.trunk_count for name, account in stored.items()}, settings.dask.partition_rows)
    with _connecting(settings, scheduler) as client:
        engine = DaskEngine(client, parts, groups)
        yield PartitionedInputs({} if history is None else {"findings_history": history}, options, engine)


@dataclass(frozen=True)
class DaskEngine:
    """Runs jobs on parts of one version of a lake, as partitions of Dask DataFrames.

    It gives up after `patience_seconds` without workers.
    """

    client: Any
    parts: PartReader
    groups: Sequence[tuple[str, ...]]
    patience_seconds: float = _PATIENCE_SECONDS

    def work_out(self, report: str, options: Options, job: Job) -> list[pd.DataFrame]:
        """Return the result of the job for each partition."""
        return self._gather(self._partitions(report, options, job, pd.DataFrame()))

    def find_shared(self, report: str, options: Options, job: Job) -> pd.Series:
        """Return the keys that the job returns more than once in all partitions together, without duplicates."""
        keys = self._partitions(report, options, job, pd.DataFrame({KEY: pd.Series(dtype="uint64")}))
        if len(self.groups) > 1:
            # A peer-to-peer shuffle would lose the rows that a dead worker had received.
            count = min(len(self.groups), _MOST_SHUFFLED)
            keys = keys.shuffle(KEY, npartitions=count, shuffle_method="tasks")
        repeated = keys.map_partitions(lambda part: part[part[KEY].duplicated()].drop_duplicates())
        shared: pd.Series = pd.concat(self._gather(repeated))[KEY]
        return shared

    def _partitions(self, report: str, options: Options, job: Job, like: pd.DataFrame) -> Any:
        import dask.dataframe as dd

        work = partial(replace(self, client=None, groups=()).work_on, report=report, options=options, job=job)
        return dd.from_map(work, self.groups, meta=like, enforce_metadata=False)

    def work_on(self, accounts: tuple[str, ...], *, report: str, options: Options, job: Job) -> pd.DataFrame:
        """Return the result of a job for some accounts; workers call this."""
        with self.parts(accounts, stored_tables([report], is_past=options.is_past)) as connection:
            return job(read_inputs(connection, [report], options))

    def _gather(self, partitions: Any) -> list[pd.DataFrame]:
        """Return the partitions in order. Each is fetched as soon as it is done, which frees its worker's memory.

        Raises DestinationError if workers keep dying, or if none is left.
        """
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        futures = self.client.compute(partitions.to_delayed())
        indexes = {future.key: index for index, future in enumerate(futures)}
        gathered: list[pd.DataFrame] = [pd.DataFrame()] * len(futures)
        waiting, seen_at = as_completed(futures, with_results=True), time.monotonic()
        del futures
        try:
            while not waiting.is_empty():
                for future, result in waiting.next_batch(block=False):
                    # For a failed future the batch has the error; result() raises it.
                    gathered[indexes[future.key]] = result if future.status == "finished" else future.result()
                    future.release()
                if self.client.nthreads():
                    seen_at = time.monotonic()
                elif time.monotonic() - seen_at > self.patience_seconds:
                    raise DestinationError(f"no Dask workers for {self.patience_seconds} s; {_ADVICE}")
                time.sleep(_PAUSE_SECONDS)
        except KilledWorker:
            raise DestinationError(f"Dask workers died repeatedly; {_ADVICE}") from None
        return gathered


def _group(trunk_counts: Mapping[str, int], most_rows: int) -> list[tuple[str, ...]]:
    """Return the accounts, in order, in groups of at most `most_rows` trunks; an account is never split."""
    groups: list[list[str]] = [[]]
    rows = 0
    for account, count in sorted(trunk_counts.items()):
        if groups[-1] and rows + count > most_rows:
            groups.append([])
            rows = 0
        groups[-1].append(account)
        rows += count
    return [tuple(group) for group in groups]


@contextmanager
def _connecting(settings: Settings, scheduler: str | None) -> Iterator[Any]:
    """Yield a client of the scheduler, or of local workers started for it. Raises UsageError."""
    try:
        import dask
        import dask.dataframe
        import distributed
    except ImportError:
        raise MissingExtraError("--engine dask needs Dask: pip install 'sip-trunks[dask]'") from None
    with changed_log_level(logging.CRITICAL, "distributed", "asyncio"), dask.config.set(_CONFIG):
        if scheduler:
            try:
                client = distributed.Client(scheduler, timeout=_PATIENCE_SECONDS)
            except Exception as error:  # noqa: BLE001 - a transport may raise errors of its own
                problem = f"no Dask scheduler responds at this address ({type(error).__name__})"
                raise UsageError(f"--scheduler: {problem}") from None
            with client:
                try:
                    client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
                except TimeoutError:
                    raise UsageError("--scheduler: the Dask scheduler has no workers; start some") from None
                yield client
            return
        with (
            distributed.LocalCluster(
                n_workers=settings.dask.workers,
                threads_per_worker=1,
                memory_limit=settings.dask.worker_bytes,
                # Only this machine can connect, on any free port.
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                # Certificates for this run, so that other users of this machine cannot send tasks to the workers.
                security=True,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
