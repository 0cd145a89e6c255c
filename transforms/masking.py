"""Phone numbers and usernames made unreadable, for reports that travel further than the data may."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from transforms.schema import API_COLUMNS, VARIANT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_DOTS = "••••••"
_SENSITIVE = tuple(column.name for column in API_COLUMNS if column.is_sensitive)
_DECLARED = frozenset(column.name for column in API_COLUMNS)
# In text of fields that nobody has declared: a run of digits that is long enough to call.
_DIGITS = re.compile(r"\+?\d[\d ()/-]{5,}\d")


def mask(value: str) -> str:
    """Return a value of which only its ends can be read: `+49••••••78`; of a short one nothing can."""
    if len(value) <= 6:
        return _DOTS if value else value
    return f"{value[: 3 if value.startswith('+') else 2]}{_DOTS}{value[-2:]}"


def mask_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its columns of phone numbers and usernames masked, misfits included."""
    names = [name for name in frame.columns if is_sensitive(str(name))]
    return frame.assign(**{name: _map(frame[name]) for name in names})


def is_sensitive(name: str) -> bool:
    """Whether a column holds phone numbers or usernames."""
    return name.removesuffix(VARIANT_SUFFIX) in (*_SENSITIVE, "normalized_number")


def mask_changes(changes: pd.DataFrame) -> pd.DataFrame:
    """Return the changes with numbers and usernames masked, also what looks like one in an undeclared field."""
    known, unknown = changes["field"].isin(_SENSITIVE), ~changes["field"].isin(_DECLARED)
    return changes.assign(
        **{
            name: changes[name].mask(known, _map(changes[name])).mask(unknown, _map_digits(changes[name]))
            for name in ("old", "new")
        }
    )


def mask_findings(findings: pd.DataFrame, trunks: pd.DataFrame) -> pd.DataFrame:
    """Return the findings with numbers and usernames masked, also where `seen` and `fix` quote them.

    Needs `account`, `id`, `phone_number` and `sip_username` of the trunks, one row per trunk.
    """
    names = trunks[["account", "id", "sip_username"]].rename(columns={"id": "trunk_id"})
    usernames = findings[["account", "trunk_id"]].merge(names, how="left", validate="m:1")["sip_username"]
    secrets = list(zip(findings["phone_number"], usernames, strict=True))
    texts = {name: _replace(findings[name], secrets) for name in ("seen", "fix")}
    return mask_columns(findings.assign(**texts))


def _map(values: pd.Series) -> pd.Series:
    return values.map(lambda value: mask(str(value)), na_action="ignore")


def _map_digits(values: pd.Series) -> pd.Series:
    return values.map(lambda value: _DIGITS.sub(lambda found: mask(found[0]), value), na_action="ignore")


def _replace(texts: pd.Series, secrets: Sequence[tuple[object, object]]) -> list[str]:
    masked = []
    for text, values in zip(texts, secrets, strict=True):
        # The longer first: a username may begin with the number.
        for value in sorted((v for v in values if isinstance(v, str) and v.strip()), key=len, reverse=True):
            text = text.replace(value, mask(value))  # noqa: PLW2901 - each replacement works on the one before
        masked.append(text)
    return masked
