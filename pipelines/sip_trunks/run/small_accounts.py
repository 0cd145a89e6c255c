"""Parse the snapshots of small accounts together, because most of what each costs does not depend on its size."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from sip_trunks.famulor.client import RawSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sip_trunks.core.settings import Account
    from sip_trunks.famulor.fetch_many import Result
    from trunk_transforms import schema
    from trunk_transforms.parse.records import Columns
    from trunk_transforms.parse.snapshot import ParsedSnapshot
    from trunk_transforms.schema.tables import ColumnType

_MOST_TOGETHER = 32
_SMALL_BYTES = 2**18


def parse_groups(
    responses: Iterator[tuple[Account, Result]],
    types: Mapping[schema.Resource, Mapping[str, ColumnType]],
    hide: Callable[[Columns], Columns] | None,
) -> Iterator[tuple[str, Result, Mapping[schema.Resource, ParsedSnapshot]]]:
    """Yield each account with its response, and with its parsed lists if the accounts of its group have no drift.

    After drift or an invalid response, the groups begin small again. `types` are the stored undeclared columns of each
    list; `hide` is described in `parse_snapshot`.
    """
    size = 1
    while group := _take_group(responses, size):
        size = min(2 * size, _MOST_TOGETHER)
        try:
            together = _parse_group(group, types, hide)
        except Exception:  # noqa: BLE001 - each is then parsed alone, and only the odd one is recorded
            together, size = {}, 1
        for account, response in group:
            yield account.name, response, together.get(account.name, {})


def _take_group(responses: Iterator[tuple[Account, Result]], most: int) -> list[tuple[Account, Result]]:
    """Return the next responses, at most `most`; only the last of them may be large."""
    group = []
    for account, response in islice(responses, most):
        group.append((account, response))
        if isinstance(response, RawSnapshot) and response.body_bytes > _SMALL_BYTES:
            break
    return group


def _parse_group(
    group: list[tuple[Account, Result]],
    types: Mapping[schema.Resource, Mapping[str, ColumnType]],
    hide: Callable[[Columns], Columns] | None,
) -> dict[str, dict[schema.Resource, ParsedSnapshot]]:
    """Return the lists of the small accounts, by account, if there are several. Raises what `parse_together` raises."""
    small = {
        account.name: response.records
        for account, response in group
        if isinstance(response, RawSnapshot)
        and response.records
        and response.body_bytes <= _SMALL_BYTES
        and not any(records.undeclared_keys for records in response.records.values())
    }
    if len(small) < 2:
        return {}
    from trunk_transforms.parse.snapshot import parse_together

    parsed: dict[str, dict[schema.Resource, ParsedSnapshot]] = {name: {} for name in small}
    for resource in next(iter(small.values())):
        records = {name: [*lists[resource]] for name, lists in small.items()}
        for one in parse_together(records, resource=resource, known=types[resource], hide=hide):
            parsed[one.account][resource] = one
    return parsed
