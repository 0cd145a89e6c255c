"""The snapshots that one load stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trunk_transforms.parse.shrink_guard import Difference
    from trunk_transforms.parse.snapshot import ParsedSnapshot
    from trunk_transforms.schema.resources import Resource


@dataclass(frozen=True)
class SnapshotBatch:
    """The snapshots that one load stores, with the changes and the row of `sip_trunk_snapshots` of each.

    A load replaces the rows of `accounts` only, and of an account only the lists in its snapshots. A destination may
    empty `snapshots` during the load to free memory.
    """

    accounts: Sequence[str]
    snapshots: list[ParsedSnapshot]
    differences: Sequence[Difference]
    observations: Sequence[Mapping[str, Any]]
    snapshot_at: datetime

    @property
    def accounts_by_list(self) -> dict[Resource, list[str]]:
        """The accounts with a snapshot of each list."""
        found: dict[Resource, list[str]] = {}
        for snapshot in self.snapshots:
            found.setdefault(snapshot.resource, []).append(snapshot.account)
        return found

    @property
    def row_count(self) -> int:
        """Number of trunks in all snapshots together."""
        return sum(row["trunk_count"] for row in self.observations)
