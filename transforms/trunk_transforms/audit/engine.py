"""The audit: what is misconfigured in the trunks, like a linter for them.

    trunks ─gather_facts─▶ facts ─each rule─▶ findings ─suppress─▶ those to act on, those that are meant to be so

The rules are in `transforms.rules`, a family to a module, each a small function with a stable code.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import trunk_transforms.audit.rules  # noqa: F401 - registers them
from trunk_transforms.audit.rules.context import gather_facts
from trunk_transforms.audit.rules.registry import RULES, Rule
from trunk_transforms.schema.reports import FINDINGS, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from trunk_transforms.enrich.numbers import Flags
    from trunk_transforms.enrich.providers import Providers

__all__ = [
    "RULES",
    "SEVERITIES",
    "Rule",
    "Suppression",
    "audit_trunks",
    "expired",
    "read_suppressions",
    "select_rules",
    "suppress",
]

_TYPES = {name: "Int64" if name == "trunk_id" else "str" for name in FINDINGS.names}
_PLACES = {severity: place for place, severity in enumerate(reversed(SEVERITIES))}
_NOTHING = pd.DataFrame(columns=["seen", "fix", "severity", "rule"], index=pd.RangeIndex(0), dtype="str")


def select_rules(select: Sequence[str], ignore: Sequence[str]) -> list[Rule]:
    """Return the rules that are selected, all if none is, without those that are ignored, in the registry's order.

    Each of the names is a rule's code, or words that codes begin with: `allowlist`, `provider-ips`. Raises ValueError
    if there is no such rule.
    """
    selected = {code for name in select for code in _find_codes(name)} or set(RULES)
    ignored = {code for name in ignore for code in _find_codes(name)}
    return [rule for code, rule in RULES.items() if code in selected - ignored]


def _find_codes(name: str) -> list[str]:
    found = [code for code in RULES if code == name or code.startswith(f"{name}-")]
    if found:
        return found
    families = list(dict.fromkeys(rule.family for rule in RULES.values()))
    close = get_close_matches(name, [*RULES, *families], n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"the families are {', '.join(families)}"
    raise ValueError(f"no rule or family of rules is called {name!r}; {hint}")


def audit_trunks(
    trunks: pd.DataFrame, *, providers: Providers, as_of: datetime, rules: Iterable[Rule] | None = None
) -> pd.DataFrame:
    """Return what the rules, all unless some are named, find in the trunks, the most severe first.

    Grain: one row per trunk and rule, with the columns `FINDINGS`. Needs `account`, `id`, `phone_number`,
    `sip_username`, `sip_address`, `sip_calling_format`, `inbound_authorization_type`, `allowed_inbound_ips` (JSON text
    of a list), `outbound_proxy` and `country_code`, one row per trunk; each may be null. What `derive_numbers` and
    `derive_provider` add is taken from there if it is there. `as_of` tells how old the facts on providers are. Raises
    ValueError if it has no time zone.

    All rules but the cross-account ones find the same in all accounts together as in each alone.
    """
    facts = gather_facts(trunks, providers, as_of)
    selected = sorted(RULES.values() if rules is None else rules, key=lambda rule: rule.code)
    found = pd.concat([_NOTHING, *(_complete(rule, rule.check(facts)) for rule in selected)])
    # Rules come in the order of their codes already: a stable sort by numbers does the rest.
    codes, severities = pd.factorize(found["severity"])
    severity = np.array([_PLACES[name] for name in severities], dtype=int)[codes]
    order = np.argsort(severity * len(trunks) + _rank(trunks)[found.index], kind="stable")
    located = trunks[["account", "id", "phone_number"]].iloc[found.index[order]].rename(columns={"id": "trunk_id"})
    findings = [frame.reset_index(drop=True) for frame in (located, found.iloc[order])]
    return pd.concat(findings, axis="columns")[FINDINGS.names].astype(_TYPES)


def merge_findings(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the findings of audits of several accounts each, or of several rules each, as those of one audit."""
    found = pd.concat(parts, ignore_index=True)
    places = found["severity"].map(_PLACES)
    ordered = found.assign(**{"~place": places}).sort_values(
        ["~place", "account", "trunk_id", "rule"], ignore_index=True
    )
    return ordered[list(found.columns)].astype(_TYPES)


def _complete(rule: Rule, found: pd.DataFrame) -> pd.DataFrame:
    return found.fillna({"severity": rule.severity, "fix": rule.fix}).assign(rule=rule.code)


def _rank(trunks: pd.DataFrame) -> NDArray[np.int64]:
    """Return the place of each row when they are sorted by account and id."""
    accounts = trunks["account"].rank(method="dense").fillna(0).to_numpy()
    ids = trunks["id"].astype("Int64").to_numpy(dtype=float, na_value=np.inf)
    return np.argsort(np.lexsort((ids, accounts)))


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
        is_about = findings["rule"].isin(_find_codes(self.rule))
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
        _find_codes(given["rule"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    until = _read_day(where, given["until"])
    return Suppression(given["rule"], given.get("account"), given["trunk_id"], given["reason"], until)


def _read_day(where: str, value: date | str) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{where}: until is no {_SUPPRESSED_BY['until'][1]}") from None
