"""Split the raw records of a snapshot into batches, which bound the memory of parsing."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

Raw = bytes | msgspec.Raw


class RawBatch(NamedTuple):
    """A batch of records, and the same records as lines of text."""

    records: Sequence[Raw]
    text: bytes


def split_records(records: Iterable[Raw], batch_records: int, batch_bytes: int) -> Iterator[RawBatch]:
    """Split the records into batches of at most `batch_records` records and about `batch_bytes` bytes."""
    remaining = iter(records)
    while batch := list(islice(remaining, batch_records)):
        views: Iterable[Any] = map(memoryview, batch)
        sizes = [*map(len, views)]
        if sum(sizes) <= batch_bytes:
            yield RawBatch(batch, b"\n".join(batch))
            continue
        start, size = 0, 0
        for index, record_size in enumerate(sizes):
            if size and size + record_size > batch_bytes:
                yield RawBatch(batch[start:index], b"\n".join(batch[start:index]))
                start, size = index, 0
            size += record_size
        yield RawBatch(batch[start:], b"\n".join(batch[start:]))
