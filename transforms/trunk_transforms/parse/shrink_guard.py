"""Compare a snapshot with the stored trunks."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

_SHRINK_MATTERS_FROM = 10
NO_VERSIONS = pa.schema([("id", pa.int64()), ("row_version", pa.string())]).empty_table()
"""The stored versions of an account without a snapshot."""


@dataclass(frozen=True)
class Changes:
    """The numbers of new, changed and removed trunks of an account, and of the trunks stored before."""

    new_count: int
    changed_count: int
    removed_count: int
    stored_count: int

    @property
    def is_none(self) -> bool:
        """Whether the snapshot equals the stored trunks."""
        return not (self.new_count or self.changed_count or self.removed_count)

    @property
    def is_suspicious(self) -> bool:
        """Whether so many trunks are missing that it may be an error: all, or more than half of at least 10."""
        is_all = 0 < self.stored_count == self.removed_count and self.new_count == 0
        is_half = self.stored_count >= _SHRINK_MATTERS_FROM and self.removed_count * 2 > self.stored_count
        return is_all or is_half


@dataclass(frozen=True)
class Difference:
    """The changes of a snapshot: their numbers, and the affected trunks.

    `is_fresh` has a flag per trunk of the snapshot: new or changed. `stale_ids` are the ids of the stored trunks that
    were changed or removed.
    """

    changes: Changes
    is_fresh: pa.ChunkedArray
    stale_ids: pa.ChunkedArray


def compare_versions(stored: pa.Table, current: pa.Table, key: str = "id") -> Difference:
    """Return the changes from `stored` to `current`: rows of one account with `row_version`, one per value of the key.

    `stored` has the key as `id`.
    """
    is_known = pc.is_in(current[key], value_set=stored["id"].combine_chunks())
    is_fresh = pc.invert(_is_version_of(current, stored))
    stale_ids = stored["id"].filter(pc.invert(_is_version_of(stored, current)))
    new_count = len(current) - pc.sum(is_known, min_count=0).as_py()
    changed_count = pc.sum(is_fresh, min_count=0).as_py() - new_count
    changes = Changes(new_count, changed_count, len(stale_ids) - changed_count, len(stored))
    return Difference(changes, is_fresh, stale_ids)


def _is_version_of(trunks: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    # Without trunks, no hash table of the others is needed.
    versions = others["row_version"].combine_chunks() if len(trunks) else pa.array([], pa.string())
    return pc.is_in(trunks["row_version"], value_set=versions)
