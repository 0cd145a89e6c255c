"""What one load stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trunk_transforms.parse.shrink_guard import Difference
    from trunk_transforms.parse.snapshot import SnapshotTables


@dataclass(frozen=True)
class Load:
    """What one run has to store: snapshots, what each of them changes, and the rows of `sip_trunk_snapshots`.

    `accounts` are those whose rows are replaced; nobody else's are touched. The snapshots may be taken out by who
    stores them: what follows may need their memory.
    """

    accounts: Sequence[str]
    snapshots: list[SnapshotTables]
    differences: Sequence[Difference]
    looks: Sequence[Mapping[str, Any]]
    snapshot_at: datetime

    @property
    def row_count(self) -> int:
        """How many trunks there are in all."""
        return sum(look["trunk_count"] for look in self.looks)
