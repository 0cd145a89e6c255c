"""What changed between what is stored and what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

if TYPE_CHECKING:
    import pyarrow as pa

_SHRINK_MATTERS_FROM = 10


@dataclass(frozen=True)
class Changes:
    """How many trunks of an account are new, changed, removed, and how many were stored before."""

    new_count: int
    changed_count: int
    removed_count: int
    stored_count: int

    @property
    def is_none(self) -> bool:
        """Whether the snapshot says what is stored."""
        return not (self.new_count or self.changed_count or self.removed_count)

    @property
    def is_suspicious(self) -> bool:
        """Whether the snapshot lacks so much that it may be a fault: all, or over half of at least 10."""
        is_all = 0 < self.stored_count == self.removed_count and self.new_count == 0
        is_half = self.stored_count >= _SHRINK_MATTERS_FROM and self.removed_count * 2 > self.stored_count
        return is_all or is_half


def compare_versions(stored: pa.Table, current: pa.Table) -> Changes:
    """Return what `current` changes in `stored`; both of one account, one row per `id`, with `row_version`."""
    common = pc.sum(pc.is_in(current["id"], value_set=stored["id"].combine_chunks())).as_py() or 0
    same = pc.sum(pc.is_in(current["row_version"], value_set=stored["row_version"].combine_chunks())).as_py() or 0
    return Changes(
        new_count=len(current) - common,
        changed_count=common - same,
        removed_count=len(stored) - common,
        stored_count=len(stored),
    )
