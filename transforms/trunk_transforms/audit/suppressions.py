"""Findings that are meant to be so, until a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

import trunk_transforms.audit.rules  # noqa: F401 - registers them
from trunk_transforms.audit.selection import find_codes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from trunk_transforms.enrich.numbers import Flags


@dataclass(frozen=True)
class Suppression:
    """Findings that are meant to be so, until the end of a day (UTC), when somebody has to look again.

    `rule` is a code or what codes begin with; without an account it is for the trunk of that id in every account.
    """

    rule: str
    account: str | None
    trunk_id: int
    reason: str
    until: date

    def is_valid(self, as_of: datetime) -> bool:
        """Whether it still holds: through the whole of its last day."""
        return as_of.astimezone(UTC).date() <= self.until

    def covers(self, findings: pd.DataFrame) -> Flags:
        """Return which findings it is about."""
        is_about = findings["rule"].isin(find_codes(self.rule))
        is_about &= findings["trunk_id"].eq(self.trunk_id).fillna(value=False).astype(bool)
        if self.account is not None:
            is_about &= findings["account"] == self.account
        return is_about.to_numpy(dtype=bool)


def suppress(
    findings: pd.DataFrame, suppressions: Iterable[Suppression], as_of: datetime
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the findings to act on, and those that a suppression is about that has not expired; both in their order.

    Grain: as the findings, of which each is in one of the two.
    """
    is_suppressed = np.zeros(len(findings), dtype=bool)
    for suppression in suppressions:
        if suppression.is_valid(as_of):
            is_suppressed |= suppression.covers(findings)
    return findings.loc[~is_suppressed].reset_index(drop=True), findings.loc[is_suppressed].reset_index(drop=True)


def expired(suppressions: Iterable[Suppression], as_of: datetime) -> list[Suppression]:
    """Return the suppressions that suppress nothing any more: renew or remove them."""
    return [suppression for suppression in suppressions if not suppression.is_valid(as_of)]


def read_suppressions(entries: Sequence[Mapping[str, Any]]) -> tuple[Suppression, ...]:
    """Return the suppressions that the settings list, as tables with `rule`, `trunk_id`, `reason`, `until`, `account`.

    All but the account are needed. Raises ValueError with one line that says which is wrong and why.
    """
    return tuple(_read_suppression(f"suppression {number}", entry) for number, entry in enumerate(entries, 1))


_SUPPRESSED_BY: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "rule": (str, "text"),
    "account": (str, "text"),
    "trunk_id": (int, "whole number"),
    "reason": (str, "text"),
    "until": ((date, str), "day such as 2027-06-30"),
}


def _read_suppression(where: str, entry: Mapping[str, Any]) -> Suppression:
    unknown = [name for name in entry if name not in _SUPPRESSED_BY]
    if unknown:
        raise ValueError(f"{where}: nothing is called {unknown[0]!r}; there are {', '.join(_SUPPRESSED_BY)}")
    given = {name: value for name, value in entry.items() if value is not None and str(value).strip()}
    missing = [name for name in _SUPPRESSED_BY if name not in given and name != "account"]
    if missing:
        raise ValueError(f"{where} has no {missing[0]}")
    for name, value in given.items():
        types, expected = _SUPPRESSED_BY[name]
        # To Python a truth value is a number, and a moment a day.
        is_expected = isinstance(value, types) and not isinstance(value, bool | datetime)
        if not is_expected:
            raise ValueError(f"{where}: {name} is no {expected}")
    try:
        find_codes(given["rule"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    until = _read_day(where, given["until"])
    return Suppression(given["rule"], given.get("account"), given["trunk_id"], given["reason"], until)


def _read_day(where: str, value: date | str) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{where}: until is no {_SUPPRESSED_BY['until'][1]}") from None
