"""The protocols of a destination: for readers, for a run, and for the commands that maintain it.

The protocols have defaults; a destination overrides the members that differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sip_trunks.warehouse import state
from trunk_transforms import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from sip_trunks.warehouse.rewriting import Rewriting
    from trunk_transforms.parse.batch import SnapshotBatch

Rewritten: TypeAlias = "tuple[DuckDBPyConnection, dict[str, int]]"

PartReader: TypeAlias = "Callable[[Collection[str], Collection[str]], AbstractContextManager[DuckDBPyConnection]]"
"""Yields a read-only connection to the rows of these accounts in these tables, of one version; there are no views.

It can be pickled for another process.
"""


@dataclass(frozen=True)
class ReclaimableSpace:
    """Space that a compaction would reclaim without deleting rows: free bytes, and files that could be merged."""

    bytes: int = 0
    files: int = 0


class NamedDestination(Protocol):
    """The names of a destination in messages."""

    @property
    def name(self) -> str:
        """The value of `--destination`."""

    @property
    def location(self) -> str:
        """Human-readable path or URL, credentials removed."""


class ReadableDestination(NamedDestination, Protocol):
    """The members that readers use: reports, SQL, the notebook, export."""

    is_atomic: bool
    """Whether a run becomes visible as a whole; if not, one table may be ahead of another for a short time."""

    def exists(self) -> bool:
        """Whether anything is stored."""

    def reading(self, tables: Collection[str] | None = None) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a read-only connection to these tables (default: all).

        Raises NothingStoredError if nothing is stored yet, DestinationError if the destination cannot be read.
        """

    def count_by(self, columns: Sequence[str]) -> pa.Table:
        """Return the number of current trunks, `trunk_count`, by these columns, counted where the trunks are stored.

        Raises NothingStoredError if nothing is stored yet, UsageError if a column does not exist.
        """
        with self.reading((schema.SIP_TRUNKS.name,)) as connection:
            return state.count_trunks_by(connection, columns)

    def part_reader(self) -> PartReader | None:
        """Return a reader of single accounts of the current version; None if the destination cannot be split.

        Raises NothingStoredError if nothing is stored yet.
        """
        return None


class WritableDestination(NamedDestination, Protocol):
    """The members that a run uses. It works on a private draft (`working`), which readers see after `publish`."""

    publishes_reports: bool
    """Whether the destination also stores the reports of a run."""

    max_batch_trunks: int | None = None
    """Number of trunks after which a run begins another load; None if each run is a single load."""

    def discard_work(self) -> None:
        """Delete everything that an interrupted run has left behind."""
        return

    def working(self) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a connection to the stored tables for one run to work on."""

    def read_numbers(self, connection: DuckDBPyConnection, accounts: Collection[str]) -> pa.Table:
        """Return account, id and phone_number of the current trunks of these accounts."""
        return state.read_numbers(connection, accounts)

    def load(self, connection: DuckDBPyConnection, batch: SnapshotBatch) -> None:
        """Store the batch with dlt; the connection then shows the tables as they will be published.

        Raises DestinationError.
        """

    def write_observations(self, connection: DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to `sip_trunk_snapshots` for responses that are unchanged and need no load."""

    def write_audit(self, connection: DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Replace the tables of the audit by these; the connection then shows them. Raises DestinationError."""

    def publish(self, _snapshot_at: datetime) -> str | None:
        """Make the run visible to readers, as a whole if the destination is atomic; do nothing if it already is.

        Return a warning, if there is one.
        """
        return None


class MaintainableDestination(NamedDestination, Protocol):
    """The members that preflight, status, schedules, transfer and retention use."""

    alternative: str | None = None
    """The destination that messages suggest instead of this one; None if they suggest none."""

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Folders on this machine that a run writes to, apart from the data directory."""
        return ()

    @property
    def residual_data(self) -> str | None:
        """Human-readable description of where deleted rows may survive a compaction; None if nowhere."""
        return None

    def size_bytes(self) -> int | None:
        """Return the size of everything stored; None if that is unknown."""
        return None

    def needed_bytes(self) -> int:
        """Return the free disk space that a run needs, in the data directory and in each of `written_folders`."""
        return 0

    def is_work_pending(self) -> bool:
        """Whether an interrupted run has left files behind."""
        return False

    def reclaimable_space(self) -> ReclaimableSpace:
        """Return the space that a compaction would reclaim without deleting rows."""
        return ReclaimableSpace()

    def initialize(self, connection: DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Store whole tables in an empty destination; the connection then shows them. Raises DestinationError."""

    def rewriting(self, rewriting: Rewriting, moment: datetime) -> AbstractContextManager[Rewritten]:
        """Yield a connection to the tables, rewritten and compacted, and the number of changed rows by table.

        Call `publish` with the same `moment` afterwards. After it was killed, it can be called again.
        """

    def expire_old_versions(self) -> None:
        """Delete every earlier version that was kept for readers."""
        return


class Destination(ReadableDestination, WritableDestination, MaintainableDestination, Protocol):
    """All members of a destination."""
