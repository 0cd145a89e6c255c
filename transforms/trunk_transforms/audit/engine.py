"""The audit: a linter for trunks.

    trunks, past ─gather_context─▶ context ─each rule─▶ findings ─suppress─▶ findings to act on, suppressed findings

The rules are in `trunk_transforms.audit.rules`, one module per family. A rule is a small function with a stable code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trunk_transforms.audit.office_hours import OfficeHours
from trunk_transforms.audit.past import Past
from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.rules.context import NOTHING, gather_context
from trunk_transforms.audit.rules.rule import Rule
from trunk_transforms.enrich.providers import Providers
from trunk_transforms.schema.findings import FINDINGS, SEVERITIES

_TYPES = {name: "Int64" if name == "trunk_id" else "str" for name in FINDINGS.names}
_WORST_FIRST = SEVERITIES[::-1]
_RANKS = {severity: rank for rank, severity in enumerate(_WORST_FIRST)}


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
    checked = [(rule, findings) for rule in selected if len(findings := rule.check(context))]
    found = _join(checked)
    found = found.loc[~_yields_to_stronger(checked, found, len(trunks))]
    # The rules are in the order of their codes already; a stable sort by severity and trunk keeps it.
    order = np.argsort(found["rank"].to_numpy() * len(trunks) + _rank(trunks)[found["row"]], kind="stable")
    found = found.iloc[order].reset_index(drop=True)
    declared = pd.DataFrame([(rule.code, rule.fix) for rule, _ in checked], columns=["rule", "fix"], dtype="str")
    declared = declared.iloc[found["number"]].reset_index(drop=True)
    located = trunks.reindex(columns=["account", "id", "phone_number", "nickname"]).rename(columns={"id": "trunk_id"})
    return (
        located.iloc[found["row"]]
        .reset_index(drop=True)
        .assign(
            rule=declared["rule"],
            severity=pd.Series(_WORST_FIRST, dtype="str").iloc[found["rank"]].array,
            seen=found["seen"],
            fix=found["fix"].fillna(declared["fix"]),
            cause=found["cause"].fillna(found["seen"] + ("; " + found["fix"]).fillna("")),
        )[FINDINGS.names]
        .astype(_TYPES)
    )


def merge_findings(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the findings of several audits, of other accounts or by other rules, in the order of one audit."""
    found = pd.concat(parts, ignore_index=True)
    order = found.assign(severity=found["severity"].map(_RANKS)).sort_values(
        ["severity", "account", "trunk_id", "rule"]
    )
    return found.loc[order.index].reset_index(drop=True).astype(_TYPES)


def _join(checked: Sequence[tuple[Rule, pd.DataFrame]]) -> pd.DataFrame:
    """Return the findings of all rules, with the `row` of the trunk, the `number` of the rule and a `rank`."""
    found = pd.concat([NOTHING, *(findings for _, findings in checked)]).rename_axis("row").reset_index()
    found["number"] = np.repeat(np.arange(len(checked)), [len(findings) for _, findings in checked])
    declared = np.array([_RANKS[rule.severity] for rule, _ in checked], dtype=int)[found["number"]]
    return found.assign(rank=np.where(found["severity"].isna(), declared, found["severity"].map(_RANKS)).astype(int))


def _yields_to_stronger(
    checked: Sequence[tuple[Rule, pd.DataFrame]], found: pd.DataFrame, trunk_count: int
) -> NDArray[np.bool_]:
    """Return a flag per finding: a rule that its rule yields to has a finding at least as severe on the trunk."""
    rows, ranks, numbers = (found[name].to_numpy() for name in ("row", "rank", "number"))
    is_weaker = np.zeros(len(found), dtype=bool)
    starts = np.searchsorted(numbers, np.arange(len(checked) + 1))
    places = {rule.code: slice(*starts[number : number + 2]) for number, (rule, _) in enumerate(checked)}
    for rule, _ in checked:
        own = places[rule.code]
        for other in (places[code] for code in rule.yields_to if code in places):
            strongest = np.full(trunk_count, len(_RANKS))
            strongest[rows[other]] = ranks[other]
            is_weaker[own] |= strongest[rows[own]] <= ranks[own]
    return is_weaker


def _rank(trunks: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of each row in the order of account and id."""
    accounts = pd.factorize(trunks["account"], sort=True)[0]
    ids = trunks["id"].astype("Int64").to_numpy(dtype=float, na_value=np.inf)
    return np.argsort(np.lexsort((ids, accounts)))
