"""The records of a response in a memory-mapped file, read without keeping the file in memory.

Every page of the file that is read stays in memory until it is released. The system reads a released page again when it
is needed.
"""

import mmap
from collections.abc import Iterator, Sequence
from itertools import chain

from trunk_transforms.parse.envelope import Raw

_RECORDS_AT_ONCE = 10_000


class SpooledRecords:
    """The records of all pages of a response, in order. They can be iterated more than once.

    `undeclared_keys` are the keys beside the records that the API does not document, and `paging_keys` those of them
    that may say that there is more.
    """

    def __init__(self) -> None:
        self._pages: list[tuple[memoryview, Sequence[Raw]]] = []
        self.undeclared_keys: tuple[str, ...] = ()
        self.paging_keys: frozenset[str] = frozenset()

    def add(self, body: memoryview, records: Sequence[Raw]) -> None:
        """Append the records of the next page, which are slices of its body."""
        self._pages.append((body, records))

    def __len__(self) -> int:
        return sum(len(records) for _, records in self._pages)

    def __iter__(self) -> Iterator[Raw]:
        return chain.from_iterable(self._slices())

    def _slices(self) -> Iterator[Sequence[Raw]]:
        for body, records in self._pages:
            for start in range(0, len(records), _RECORDS_AT_ONCE):
                release_memory(body)
                yield records[start : start + _RECORDS_AT_ONCE]
            release_memory(body)


def release_memory(body: memoryview) -> None:
    """Return the memory of a mapped file to the system, if the platform supports it."""
    if isinstance(body.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        body.obj.madvise(mmap.MADV_DONTNEED)
