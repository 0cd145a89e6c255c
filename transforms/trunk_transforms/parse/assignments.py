"""The numbers and assistants of an account → the assistants of each trunk.

An assistant has much that is nobody's business here: prompts, variables, tools, webhooks. `keep_fields` decodes only
what is stored.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from trunk_transforms.parse.envelope import InvalidResponseError, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from trunk_transforms.parse.envelope import Page, Raw
    from trunk_transforms.parse.records import Columns
    from trunk_transforms.parse.snapshot import ParsedSnapshot

_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_BY_ID = attrgetter("id")
Kept = TypeVar("Kept", bound="Number | Assistant")


class Number(msgspec.Struct, frozen=True):
    """What is kept of a number: its id, which is a trunk's id if it is one, and whether no inbound assistant has it."""

    id: _Id
    is_available: bool


class Assistant(msgspec.Struct, frozen=True):
    """What is kept of an assistant."""

    id: _Id
    phone_number_id: _Id | None = None
    name: str | None = None
    type: str | None = None
    status: str | None = None
    deleted_at: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return the members that are stored. A deleted assistant has the status `deleted`."""
        status = "deleted" if self.deleted_at else self.status
        return {"id": self.id, "name": self.name, "type": self.type, "status": status}


@dataclass(frozen=True)
class Assignments:
    """The numbers and assistants of an account."""

    numbers: Sequence[Number]
    assistants: Sequence[Assistant]

    def encode(self) -> bytes:
        """Return all that is kept, as a text that does not depend on the order of the records."""
        return msgspec.json.encode([sorted(self.numbers, key=_BY_ID), sorted(self.assistants, key=_BY_ID)])


def read_kept_page(body: memoryview, headers: Mapping[str, Any], kind: type[Kept]) -> Page:
    """Return one page of a list, which may be a bare array, with only what is kept of its records."""
    is_bare = bytes(body[:1]) == b"["
    page = read_page(b"".join([b'{"data":', body, b"}"]) if is_bare else body, headers)
    return replace(page, records=[*map(msgspec.json.encode, keep_fields(page.records, kind))])


def keep_fields(records: Iterable[Raw], kind: type[Kept]) -> list[Kept]:
    """Return what is kept of these records. Raises InvalidResponseError, without their values, if one is odd."""
    decoder = msgspec.json.Decoder(kind)
    try:
        kept = [decoder.decode(record) for record in records]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        seen = str(error) if isinstance(error, msgspec.ValidationError) else "it is not valid JSON"
        raise InvalidResponseError(f"expected {kind.__name__.lower()}s, got an odd record: {seen}") from None
    if any("\0" in text for one in kept for text in msgspec.structs.astuple(one) if isinstance(text, str)):
        raise InvalidResponseError(f"expected {kind.__name__.lower()}s, got a text with the character U+0000")
    return kept


def parse_assignments(
    assignments: Assignments, trunks: pa.Table, account: str, hide: Callable[[Columns], Columns] | None = None
) -> ParsedSnapshot:
    """Return the rows of `sip_trunk_assignments` for the trunks of a snapshot, in their order.

    Grain: one row per trunk; none if the account has no numbers. `hide` is described in `parse_snapshot`.

    Raises InvalidResponseError if a number is assigned, but there are no assistants.
    """
    import pyarrow as pa

    from trunk_transforms.parse.records import Columns
    from trunk_transforms.parse.snapshot import build_snapshot
    from trunk_transforms.parse.values import as_json
    from trunk_transforms.schema.resources import ASSIGNMENTS
    from trunk_transforms.schema.tables import arrow_type

    is_assigned = {number.id: not number.is_available for number in assignments.numbers}
    if any(is_assigned.values()) and not assignments.assistants:
        raise InvalidResponseError("expected assistants, because some have numbers, got an empty list")
    users: dict[int | None, list[dict[str, Any]]] = defaultdict(list)
    for assistant in sorted(assignments.assistants, key=_BY_ID):
        users[assistant.phone_number_id].append(assistant.describe())
    ids = trunks["id"].to_pylist() if is_assigned else []
    values = (ids, [is_assigned.get(id_) for id_ in ids], [as_json(users.get(id_, [])) for id_ in ids])
    fields = ASSIGNMENTS.fields
    arrays = {name: pa.array(value, arrow_type(fields[name].type)) for name, value in zip(fields, values, strict=True)}
    columns = Columns(pa.table(arrays), {name: column.type for name, column in fields.items()}, ())
    return build_snapshot(columns, account, ASSIGNMENTS, hide)
