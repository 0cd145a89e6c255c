"""Phone numbers and usernames made unreadable, for reports that travel further than the data may."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trunk_transforms.schema.tables import API_COLUMNS, VARIANT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

_DOTS = "••••••"
_SHORT = 6
_SENSITIVE = tuple(column.name for column in API_COLUMNS if column.is_sensitive)
# Nobody calls these; the other fields may hold a number all the same, in a user before the host or a wrong entry.
_PLAIN = ("id", "created_at", "updated_at")
# A run of digits that is long enough to call, or who is before an @.
_REVEALING = re.compile(r'[^\s@/:"]+(?=@)|\+?\d[\d ()/-]{5,}\d')


def mask(value: str) -> str:
    """Return a value of which only its ends can be read: `+49••••••78`; of a short one nothing can."""
    if len(value) <= _SHORT:
        return _DOTS if value else value
    return f"{value[: 3 if value.startswith('+') else 2]}{_DOTS}{value[-2:]}"


def mask_columns(frame: pd.DataFrame, others: Collection[str] = ()) -> pd.DataFrame:
    """Return the frame with its columns of phone numbers and usernames masked, misfits included.

    In the columns `others`, of which nobody knows what they hold, what looks like a number or a user is masked.
    """
    secret = [name for name in frame.columns if is_sensitive(str(name))]
    open_text = [name for name in frame.columns if name in others and name not in secret and frame[name].dtype == "str"]
    masked = {name: _map(frame[name]) for name in secret} | {name: _map_revealing(frame[name]) for name in open_text}
    return frame.assign(**masked)


def is_sensitive(name: str) -> bool:
    """Whether a column holds phone numbers or usernames."""
    return name.removesuffix(VARIANT_SUFFIX) in (*_SENSITIVE, "normalized_number")


def mask_changes(changes: pd.DataFrame) -> pd.DataFrame:
    """Return the changes with numbers and usernames masked, also what looks like one in another field."""
    known, other = changes["field"].isin(_SENSITIVE), ~changes["field"].isin((*_SENSITIVE, *_PLAIN))
    return changes.assign(
        **{
            name: changes[name].mask(known, _map(changes[name])).mask(other, _map_revealing(changes[name]))
            for name in ("old", "new")
        }
    )


def mask_findings(findings: pd.DataFrame, trunks: pd.DataFrame) -> pd.DataFrame:
    """Return the findings with numbers and usernames masked, also where `seen` and `fix` quote them.

    Needs `account`, `id`, `phone_number`, `sip_username`, `sip_address` and `allowed_inbound_ips` of the trunks, one
    row per trunk.
    """
    quoted = ["sip_username", "sip_address", "allowed_inbound_ips"]
    named = trunks[["account", "id", *quoted]].rename(columns={"id": "trunk_id"})
    of_trunk = findings[["account", "trunk_id"]].merge(named, how="left", validate="m:1")
    secrets = [
        _secrets(number, *values)
        for number, *values in zip(findings["phone_number"], *(of_trunk[name] for name in quoted), strict=True)
    ]
    texts = {
        name: [_replace(text, hidden) for text, hidden in zip(findings[name], secrets, strict=True)]
        for name in ("seen", "fix")
    }
    return mask_columns(findings.assign(**texts))


def _map(values: pd.Series) -> pd.Series:
    return values.map(lambda value: mask(str(value)), na_action="ignore")


def _map_revealing(values: pd.Series) -> pd.Series:
    return values.map(lambda value: _REVEALING.sub(lambda found: mask(found[0]), value), na_action="ignore")


def _secrets(number: object, username: object, *others: object) -> list[str]:
    """Return what a text about a trunk must not say, the longer first: a username may begin with the number."""
    values = [value for value in (number, username) if isinstance(value, str) and value.strip()]
    values += [found for value in others if isinstance(value, str) for found in _REVEALING.findall(value)]
    return sorted(values, key=len, reverse=True)


def _replace(text: str, secrets: Sequence[str]) -> str:
    for value in secrets:
        if len(value) > _SHORT:
            text = text.replace(value, mask(value))
        else:
            # Anywhere it could be a part of another word; a trunk's own values are quoted.
            text = text.replace(f'"{value}"', f'"{mask(value)}"')
    return text
