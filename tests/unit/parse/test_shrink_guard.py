"""What a snapshot changes in what is stored, and when that is suspicious."""

from __future__ import annotations

import pyarrow as pa
import pytest

from trunk_transforms.parse.shrink_guard import Changes, compare_versions


def versions(**rows: str) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([int(key[1:]) for key in rows], pa.int64()),
            "row_version": pa.array(list(rows.values()), pa.string()),
        }
    )


def test_new_changed_and_removed_are_counted_and_named() -> None:
    stored = versions(_1="a", _2="b", _3="c")
    difference = compare_versions(stored, versions(_2="b", _3="x", _4="d", _5="e"))
    assert difference.changes == Changes(2, 1, 1, 3)
    assert difference.is_fresh.to_pylist() == [False, True, True, True]
    assert difference.stale_ids.to_pylist() == [1, 3]


def test_two_empty_tables_do_not_differ() -> None:
    changes = compare_versions(versions(), versions()).changes
    assert changes == Changes(0, 0, 0, 0)
    assert changes.is_none
    assert not changes.is_suspicious


@pytest.mark.parametrize(
    ("stored", "removed", "new", "is_suspicious"),
    [
        (1, 1, 0, True),
        (9, 9, 0, True),
        (9, 8, 0, False),
        (9, 9, 3, False),
        (10, 5, 0, False),
        (10, 6, 0, True),
        (10, 6, 6, True),
        (0, 0, 5, False),
    ],
)
def test_a_response_that_lost_all_or_most_trunks_is_suspicious(
    stored: int, removed: int, new: int, is_suspicious: bool
) -> None:
    assert Changes(new, 0, removed, stored).is_suspicious is is_suspicious
