"""The rules that are blind without a column: those that find nothing any more in what they find something in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.frames import trunks
from tests.unit.audit.rules.cases import POSITIVE
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.needed_columns import RULES_WITHOUT
from trunk_transforms.audit.rules.context import AUDITED
from trunk_transforms.enrich.providers import default_providers

ROWS = [
    row | {"account": f"{code} {case} {row.get('account', '')}", "id": place}
    for code, cases in POSITIVE.items()
    for case, (rows, *_) in enumerate(cases)
    for place, row in enumerate(rows)
]
AS_OF = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize("column", sorted({*AUDITED} - {"account", "id"}))
def test_without_a_column_its_rules_find_nothing_and_the_others_something(column: str) -> None:
    made = trunks(*(row | {column: None} for row in ROWS))
    found = audit_trunks(made, providers=default_providers(), as_of=AS_OF)
    assert sorted(POSITIVE.keys() - set(found["rule"])) == sorted(RULES_WITHOUT[column])
