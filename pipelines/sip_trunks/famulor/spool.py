"""The records of an answer that lies in a file: what has been read of it takes no memory.

The file is mapped into memory, and each of its pages stays there once it was looked at. Letting them go loses nothing:
the system reads them again should somebody look again.
"""

from __future__ import annotations

import mmap
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunk_transforms.parse.records import Raw

_RECORDS_AT_ONCE = 10_000


class SpooledRecords:
    """The records of all pages of an answer, in order, as often as they are asked for."""

    def __init__(self) -> None:
        self._pages: list[tuple[memoryview, Sequence[Raw]]] = []

    def add(self, body: memoryview, records: Sequence[Raw]) -> None:
        """Append the records of the next page, which point into its body."""
        self._pages.append((body, records))

    def __len__(self) -> int:
        return sum(len(records) for _, records in self._pages)

    def __iter__(self) -> Iterator[Raw]:
        return chain.from_iterable(self._slices())

    def _slices(self) -> Iterator[Sequence[Raw]]:
        for body, records in self._pages:
            for start in range(0, len(records), _RECORDS_AT_ONCE):
                let_go(body)
                yield records[start : start + _RECORDS_AT_ONCE]
            let_go(body)


def let_go(body: memoryview) -> None:
    """Give the memory of a mapped file back to the system, where it can take it."""
    if isinstance(body.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        body.obj.madvise(mmap.MADV_DONTNEED)
