"""What a destination offers: to readers, to a run, and to the commands that maintain it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from trunk_transforms.parse.batch import SnapshotBatch


@dataclass(frozen=True)
class Compacted:
    """The compacted tables, as a connection shows them, and the number of deleted rows by table."""

    connection: DuckDBPyConnection
    deleted_counts: dict[str, int]


@dataclass(frozen=True)
class ReclaimableSpace:
    """Space that a compaction would reclaim without deleting rows: free bytes, and files that could be merged."""

    bytes: int = 0
    files: int = 0


class PartReader(Protocol):
    """Reads single accounts from one version of a destination; can be pickled for another process."""

    def reading(self, accounts: Collection[str], tables: Collection[str]) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a read-only connection to these tables with the rows of these accounts; there are no views."""


class NamedDestination(Protocol):
    """What messages say about a destination."""

    @property
    def name(self) -> str:
        """The value of `--destination`."""

    @property
    def location(self) -> str:
        """Human-readable path or URL, credentials removed."""


class ReadableDestination(NamedDestination, Protocol):
    """What readers need: reports, SQL, the notebook, export."""

    @property
    def is_atomic(self) -> bool:
        """Whether a run becomes visible as a whole; if not, one table may be ahead of another for a moment."""

    def exists(self) -> bool:
        """Whether anything is stored."""

    def reading(self, tables: Collection[str] | None = None) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a read-only connection to these tables (default: all).

        Raises ConfigError if nothing is stored yet, DestinationError if the destination cannot be read.
        """

    def count_by(self, columns: Sequence[str]) -> pa.Table:
        """Return the number of current trunks, `trunk_count`, by these columns, counted where the trunks are stored.

        Raises ConfigError if nothing is stored yet or a column does not exist.
        """

    def part_reader(self) -> PartReader | None:
        """Return a reader of single accounts of the current version; None if the destination cannot be split.

        Raises ConfigError if nothing is stored yet.
        """


class WritableDestination(NamedDestination, Protocol):
    """What a run needs. It works on a private draft (`working`) that readers see after `publish`, or never."""

    @property
    def publishes_reports(self) -> bool:
        """Whether the destination also stores the reports of a run."""

    @property
    def max_batch_trunks(self) -> int | None:
        """Number of trunks after which a run begins another load; None if each run is a single load."""

    def discard_work(self) -> None:
        """Delete everything that an interrupted run has left behind."""

    def working(self) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a connection to the stored tables for one run to work on."""

    def load(self, connection: DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Store the batch with dlt; the connection then shows the tables as they will be published.

        Raises DestinationError.
        """

    def write_observations(self, connection: DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to `sip_trunk_snapshots` for responses that are unchanged and need no load."""

    def publish(self, snapshot_at: datetime) -> None:
        """Make the run visible to readers, as a whole if the destination is atomic."""


class MaintainableDestination(NamedDestination, Protocol):
    """What preflight, status, schedules, transfer and retention need."""

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Folders on this machine that a run writes to, apart from the data directory."""

    @property
    def alternative(self) -> str | None:
        """Another value of `--destination` that is worth a try; None if there is no suggestion."""

    @property
    def residual_data(self) -> str | None:
        """Human-readable: where deleted rows may survive after a compaction; None if nowhere."""

    def size_bytes(self) -> int | None:
        """Return the size of everything stored; None if that is unknown."""

    def needed_bytes(self) -> int:
        """Return the free disk space that a run needs, in the data directory and in each of `written_folders`."""

    def is_work_pending(self) -> bool:
        """Whether an interrupted run has left something behind."""

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return the space that a compaction would reclaim without deleting rows."""

    def initialize(self, connection: DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Store whole tables in an empty destination; the connection then shows them. Raises DestinationError."""

    def compacting(self, deletions: Mapping[str, str], moment: datetime) -> AbstractContextManager[Compacted]:
        """Yield, like `working`, a connection to the tables, rewritten compactly and without the deleted rows.

        `deletions` maps tables to SQL conditions. Call `publish` with the same moment afterwards.
        """

    def expire_old_versions(self) -> None:
        """Delete every earlier version that was kept for readers."""


class Destination(ReadableDestination, WritableDestination, MaintainableDestination, Protocol):
    """Everything that a destination offers."""
