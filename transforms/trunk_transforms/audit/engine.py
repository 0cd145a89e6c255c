"""The audit: what is misconfigured in the trunks, like a linter for them.

    trunks ─gather_context─▶ context ─each rule─▶ findings ─suppress─▶ those to act on, those that are meant to be so

The rules are in `transforms.rules`, a family to a module, each a small function with a stable code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.rules.context import gather_context
from trunk_transforms.schema.reports import FINDINGS, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from numpy.typing import NDArray

    from trunk_transforms.audit.rules.rule import Rule
    from trunk_transforms.enrich.providers import Providers

_TYPES = {name: "Int64" if name == "trunk_id" else "str" for name in FINDINGS.names}
_PLACES = {severity: place for place, severity in enumerate(reversed(SEVERITIES))}
_NOTHING = pd.DataFrame(columns=["seen", "fix", "severity", "rule"], index=pd.RangeIndex(0), dtype="str")


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
    context = gather_context(trunks, providers, as_of)
    selected = sorted(RULES.values() if rules is None else rules, key=lambda rule: rule.code)
    found = pd.concat([_NOTHING, *(_complete(rule, rule.check(context)) for rule in selected)])
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
