"""Where snapshots are kept: what a run and the readers need of a destination, and which one the settings name.

    duckdb     warehouse.py   one file, replaced as a whole
    parquet    lake.py        folders of Parquet files, a version of them published by one switch
               table_lake.py  the same as Delta or Iceberg tables
    any other  server.py      whatever dlt can merge into, by dlt's name for it

All of them are read through a DuckDB connection that has the same tables in it (state.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from trunk_transforms.parse.batch import Load


@dataclass(frozen=True)
class Rewritten:
    """What is left of the tables, as a connection has it, and how many rows of each are gone."""

    connection: DuckDBPyConnection
    dropped_counts: dict[str, int]


@dataclass(frozen=True)
class Spare:
    """What a rewriting would spare without taking a row: bytes that nothing is in, files that others could hold."""

    bytes: int = 0
    files: int = 0


class Destination(Protocol):
    """A place where snapshots are kept.

    A run works out of sight (`working`) and is seen at once (`publish`), or not at all.
    """

    @property
    def name(self) -> str:
        """What `--destination` calls it."""

    @property
    def publishes_reports(self) -> bool:
        """Whether the reports of a run are kept there."""

    @property
    def is_atomic(self) -> bool:
        """Whether readers see all of a run at once; elsewhere one table may be ahead of another."""

    @property
    def trunks_at_once(self) -> int | None:
        """How many trunks one load of a run should have, if it may load several times; one load has everything else."""

    @property
    def place(self) -> str:
        """Where it is, for a person; never a password."""

    def exists(self) -> bool:
        """Whether anything is stored there."""

    def size_bytes(self) -> int | None:
        """How much room it takes, if that is known."""

    def is_work_pending(self) -> bool:
        """Whether a run that did not end has left something."""

    def discard_work(self) -> None:
        """Throw away whatever a run that did not end has left."""

    def working(self) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a connection to the tables as they are stored, for one run to work on."""

    def load(self, connection: DuckDBPyConnection, load: Load) -> None:
        """Store the snapshots, by dlt; the connection then has the tables as they will be published."""

    def seed(self, connection: DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
        """Store whole tables where nothing is stored yet; the connection then has them."""

    def write_looks(self, connection: DuckDBPyConnection, looks: Sequence[Mapping[str, Any]]) -> None:
        """Store rows of `sip_trunk_snapshots` for answers that have nothing new to load."""

    def publish(self, snapshot_at: datetime) -> None:
        """Let readers see what the run did, all of it at once."""

    def rewriting(self, drops: Mapping[str, str], moment: datetime) -> AbstractContextManager[Rewritten]:
        """Work like `working`, but on tables written anew, as compactly as they can be, without some of their rows.

        `drops` has a condition in plain SQL by table: the rows that are to go. `publish` has to get the same moment.
        """

    def forget_past(self) -> None:
        """Remove every earlier version that is kept for readers."""

    def spare(self) -> Spare:
        """Return what a rewriting would spare."""

    @property
    def remnants(self) -> str | None:
        """What may be left of rows that were dropped, for a person; None if nothing is."""

    def reading(self, tables: Collection[str] | None = None) -> AbstractContextManager[DuckDBPyConnection]:
        """Yield a connection to read these tables from, all without them; it can change nothing."""

    def tally(self, columns: Sequence[str]) -> pa.Table:
        """Return how many trunks have each combination of these columns, `trunk_count`, counted where the trunks are.

        Raises SettingsError if nothing is stored yet, or a column is not.
        """
