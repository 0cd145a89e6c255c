"""The audit: a linter for trunks.

    trunks, past ─gather_context─▶ context ─each rule─▶ findings ─suppress─▶ findings to act on, suppressed findings

The rules are in `trunk_transforms.audit.rules`, one module per family. A rule is a small function with a stable code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trunk_transforms.audit.office_hours import OfficeHours
from trunk_transforms.audit.past import Past
from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.rules.context import gather_context
from trunk_transforms.audit.rules.rule import Rule
from trunk_transforms.enrich.providers import Providers
from trunk_transforms.schema.findings import FINDINGS, SEVERITIES

_TYPES = {name: "Int64" if name == "trunk_id" else "str" for name in FINDINGS.names}
_RANKS = {severity: rank for rank, severity in enumerate(reversed(SEVERITIES))}
_NOTHING = pd.DataFrame(columns=["seen", "fix", "severity", "cause", "rule"], index=pd.RangeIndex(0), dtype="str")


def audit_trunks(
    trunks: pd.DataFrame,
    *,
    providers: Providers,
    as_of: datetime,
    rules: Iterable[Rule] | None = None,
    past: Past | None = None,
    office_hours: OfficeHours | None = None,
) -> pd.DataFrame:
    """Return the findings of the rules (default: all rules), the most severe first.

    Grain: one row per trunk and rule, with the columns `FINDINGS`. Needs one row per trunk with the columns `AUDITED`,
    all nullable; `allowed_inbound_ips` is a list, or its JSON text. `nickname` is optional. If the columns that
    `derive_numbers` and `derive_provider` add are there, they are used. The age of the provider catalog is counted at
    `as_of`.

    Without `past`, the rules on the history of the trunks have no findings. Without `office_hours`, neither has
    `changed-out-of-hours`.

    Rules that do not compare accounts have the same findings for all accounts together as for each one alone.

    Raises ValueError if a column is missing or `as_of` has no time zone.
    """
    context = gather_context(trunks, providers, as_of, past, office_hours)
    selected = sorted(RULES.values() if rules is None else rules, key=lambda rule: rule.code)
    checked = ((rule, rule.check(context)) for rule in selected)
    by_rule = {rule: _complete(rule, hits) for rule, hits in checked if len(hits)}
    found = pd.concat([_NOTHING, *_yield_to_stronger(by_rule)])
    # The rules are in the order of their codes already; a stable sort by severity and trunk keeps it.
    codes, severities = pd.factorize(found["severity"])
    severity = np.array([_RANKS[name] for name in severities], dtype=int)[codes]
    order = np.argsort(severity * len(trunks) + _rank(trunks)[found.index], kind="stable")
    located = trunks.iloc[found.index[order]].rename(columns={"id": "trunk_id"})
    located = located.reindex(columns=["account", "trunk_id", "phone_number", "nickname"])
    findings = [frame.reset_index(drop=True) for frame in (located, found.iloc[order])]
    return pd.concat(findings, axis="columns")[FINDINGS.names].astype(_TYPES)


def merge_findings(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the findings of several audits, of other accounts or by other rules, in the order of one audit."""
    found = pd.concat(parts, ignore_index=True)
    order = found.assign(severity=found["severity"].map(_RANKS)).sort_values(
        ["severity", "account", "trunk_id", "rule"]
    )
    return found.loc[order.index].reset_index(drop=True).astype(_TYPES)


def _complete(rule: Rule, found: pd.DataFrame) -> pd.DataFrame:
    cause = found["seen"] + ("; " + found["fix"]).fillna("")
    return found.fillna({"severity": rule.severity, "fix": rule.fix, "cause": cause}).assign(rule=rule.code)


def _yield_to_stronger(found: Mapping[Rule, pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the findings of each rule, except where a rule that it yields to has a finding at least as severe."""
    ranks = {rule.code: findings["severity"].map(_RANKS).astype(int) for rule, findings in found.items()}
    for rule, findings in found.items():
        is_weaker = np.zeros(len(findings), dtype=bool)
        for code in rule.yields_to:
            if code in ranks:
                # A smaller rank is more severe.
                stronger = ranks[code].reindex(findings.index, fill_value=len(_RANKS))
                is_weaker |= (stronger <= ranks[rule.code]).to_numpy()
        yield findings.loc[~is_weaker]


def _rank(trunks: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of each row in the order of account and id."""
    accounts = trunks["account"].rank(method="dense").fillna(0).to_numpy()
    ids = trunks["id"].astype("Int64").to_numpy(dtype=float, na_value=np.inf)
    return np.argsort(np.lexsort((ids, accounts)))
