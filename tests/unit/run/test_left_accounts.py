"""Which stored account the trunks of a snapshot belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from sip_trunks.run.left_accounts import find_match

if TYPE_CHECKING:
    from collections.abc import Sequence

    Trunks = Sequence[tuple[int, str | None]]

TEN = [(n, f"+4930555010{n}") for n in range(10)]


def table_of(*trunks: tuple[str, int, str | None]) -> pa.Table:
    columns = list(zip(*trunks, strict=True)) or [(), (), ()]
    types = {"account": pa.string(), "id": pa.int64(), "phone_number": pa.string()}
    return pa.table([pa.array(values, kind) for values, kind in zip(columns, types.values(), strict=True)], [*types])


@pytest.mark.parametrize(
    ("new", "left", "shared_count"),
    [
        pytest.param(TEN, TEN, 10, id="the same"),
        pytest.param(TEN[:4], TEN, 4, id="most were deleted meanwhile"),
        pytest.param([*TEN, *((n, "x") for n in range(100, 130))], TEN, 10, id="many were added meanwhile"),
        pytest.param([*TEN[:5], *((n, "x") for n in range(100, 105))], TEN, 5, id="half were replaced meanwhile"),
        pytest.param([*TEN[:5], *((n, "x") for n, _ in TEN[5:])], TEN, 5, id="half have another number"),
        pytest.param([*TEN[:4], *((n, "x") for n, _ in TEN[4:])], TEN, 0, id="most have another number"),
        pytest.param([(n, f"0{n}") for n, _ in TEN], TEN, 0, id="the same ids of another platform"),
        pytest.param([(n + 100, number) for n, number in TEN], TEN, 0, id="the same numbers with other ids"),
        pytest.param([(1, "1000")], [(1, "1000")], 1, id="one trunk"),
        pytest.param([(1, "1000")], [(1, "1001")], 0, id="one other trunk"),
        pytest.param([(1, None)], [(1, None)], 1, id="a trunk without a number"),
        pytest.param([(1, "1000"), (2, "1001")], [(1, "1000"), (3, "1001")], 1, id="one of two trunks"),
        pytest.param([TEN[0], *((n, "x") for n in range(100, 120))], TEN, 0, id="one trunk has moved"),
        pytest.param([], TEN, 0, id="no trunks"),
        pytest.param(TEN, [], 0, id="no stored trunks"),
    ],
)
def test_trunks_are_those_of_an_account_if_half_have_its_ids_and_numbers(
    new: Trunks, left: Trunks, shared_count: int
) -> None:
    others = [("other", 9, "+49305550109"), ("other", 500, "1"), ("other", 501, "2")]
    stored = table_of(*(("old", *one) for one in left), *others)
    match = find_match(table_of(*(("new", *one) for one in new)), stored)
    found = (match.account, match.shared_count, match.stored_count) if match else None
    assert found == (("old", shared_count, len(left)) if shared_count else None)
