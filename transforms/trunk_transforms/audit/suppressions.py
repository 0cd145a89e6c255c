"""Suppressions: findings that are accepted until a given day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from trunk_transforms.schema.arguments import require_columns, require_time_zone

if TYPE_CHECKING:
    import pandas as pd

    from trunk_transforms.enrich.numbers import Flags

_EXPECTED = {"trunk_id": "a whole number", "until": "a day such as 2027-06-30"}


@dataclass(frozen=True)
class Suppression:
    """A reason to accept findings of one trunk or with one cause through the day `until` (UTC).

    `rule` is the code of a rule or a family. With `trunk_id` and `cause`, a finding must have both. Without `account`,
    the suppression covers every account.
    """

    rule: str
    account: str | None
    trunk_id: int | None
    reason: str
    until: date
    cause: str | None = None

    @property
    def subject(self) -> str:
        """The findings in words."""
        return f"{self.rule} for " + (f"the cause {self.cause}" if self.trunk_id is None else f"trunk {self.trunk_id}")

    def is_valid(self, as_of: datetime) -> bool:
        """Whether the suppression still applies: through its last day."""
        return as_of.astimezone(UTC).date() <= self.until

    def covers(self, findings: pd.DataFrame) -> Flags:
        """Return a flag per finding: the suppression covers it."""
        from trunk_transforms.audit.rules import find_codes  # brings pandas

        is_covered = findings["rule"].isin(find_codes(self.rule))
        for name in ("account", "trunk_id", "cause"):
            if (value := getattr(self, name)) is not None:
                is_covered &= findings[name].eq(value).fillna(value=False).astype(bool)
        return is_covered.to_numpy(dtype=bool)


def suppress(
    findings: pd.DataFrame, suppressions: Iterable[Suppression], as_of: datetime
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the findings to act on, and the findings that a valid suppression covers, both in their order.

    Grain: as `findings`; each finding is in one of the two frames.
    """
    import numpy as np

    require_columns(findings, ("account", "trunk_id", "rule", "cause"), "findings")
    require_time_zone(as_of, "as_of")
    is_suppressed = np.zeros(len(findings), dtype=bool)
    for suppression in suppressions:
        if suppression.is_valid(as_of):
            is_suppressed |= suppression.covers(findings)
    # Hardly any finding is suppressed, and a copy of the others can be large.
    kept = findings.loc[~is_suppressed] if is_suppressed.any() else findings
    return kept.reset_index(drop=True), findings.loc[is_suppressed].reset_index(drop=True)


def read_suppressions(entries: Sequence[Mapping[str, Any]]) -> tuple[Suppression, ...]:
    """Return the suppressions in the settings.

    Raises ValueError with one line that names the entry and the fault: as `parse_suppressions`, or an unknown rule.
    """
    from trunk_transforms.audit.rules import find_codes  # brings pandas

    suppressions = parse_suppressions(entries)
    for number, suppression in enumerate(suppressions, 1):
        try:
            find_codes(suppression.rule)
        except ValueError as error:
            raise ValueError(f"suppression {number}: {error}") from None
    return suppressions


def parse_suppressions(entries: Sequence[Mapping[str, Any]]) -> tuple[Suppression, ...]:
    """Return the suppressions in the settings, without checking that the rules exist, which needs pandas.

    An entry has `rule`, `reason`, `until`, `trunk_id` or `cause`, and maybe `account`.

    Raises ValueError with one line that names the entry and the fault.
    """
    return tuple(_parse(f"suppression {number}", entry) for number, entry in enumerate(entries, 1))


def _parse(where: str, entry: Mapping[str, Any]) -> Suppression:
    names = [field.name for field in fields(Suppression)]
    for name in entry:
        if name not in names:
            raise ValueError(f"{where}: unknown key {name!r}; the keys are {', '.join(names)}")
    given = {name: value for name, value in entry.items() if value is not None and str(value).strip()}
    for name in ("rule", "reason", "until"):
        if name not in given:
            raise ValueError(f"{where} has no {name}")
    if not {"trunk_id", "cause"} & given.keys():
        raise ValueError(f"{where} has no trunk_id and no cause")
    try:
        return msgspec.convert({"account": None, "trunk_id": None} | given, Suppression)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].strip("`")
        raise ValueError(f"{where}: {name} must be {_EXPECTED.get(name, 'text')}") from None
