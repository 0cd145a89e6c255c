"""The audit: a linter for trunks.

    trunks, past ─gather_context─▶ context ─each rule─▶ findings ─suppress─▶ findings to act on, suppressed findings

The rules are in `trunk_transforms.audit.rules`, one module per family. A rule is a small function with a stable code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from trunk_transforms.audit.office_hours import OfficeHours
from trunk_transforms.audit.past import Past
from trunk_transforms.audit.rules import RULES
from trunk_transforms.audit.rules.context import NOTHING, AuditContext, Findings, gather_context
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
    selected = sorted(RULES.values() if rules is None else rules, key=lambda rule: rule.code)
    found, verdicts = _join(selected, _check(selected, gather_context(trunks, providers, as_of, past, office_hours)))
    found = found.loc[~_yields_to_stronger(selected, found, len(trunks))]
    # The rules are in the order of their codes already; a stable sort by severity and trunk keeps it.
    order = np.argsort(found["rank"].to_numpy() * len(trunks) + _rank(trunks)[found["row"]], kind="stable")
    rows, places = (found[name].to_numpy()[order] for name in ("row", "place"))
    located = trunks.reindex(columns=["account", "id", "phone_number", "nickname"]).rename(columns={"id": "trunk_id"})
    located = located.iloc[rows].reset_index(drop=True)
    # Popped, so that there are never two copies of all texts.
    described = {name: verdicts.pop(name).array.take(places) for name in ("rule", "severity", "seen", "fix", "cause")}
    return located.assign(**described)[FINDINGS.names].astype(_TYPES)


def merge_findings(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the findings of several audits, of other accounts or by other rules, in the order of one audit."""
    found = pd.concat(parts, ignore_index=True)
    order = found.assign(severity=found["severity"].map(_RANKS)).sort_values(
        ["severity", "account", "trunk_id", "rule"]
    )
    return found.loc[order.index].reset_index(drop=True).astype(_TYPES)


def _check(rules: Sequence[Rule], context: AuditContext) -> list[Findings]:
    """Return the findings of each rule."""
    findings = []
    for rule in rules:
        findings.append(rule.check(context))
        pa.default_memory_pool().release_unused()  # Arrow keeps what one rule has let go, though others cannot use it
    return findings


def _join(rules: Sequence[Rule], findings: Sequence[Findings]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the findings of all rules, and their verdicts with all texts.

    A finding has the `row` of the trunk, the `place` of its verdict, the `number` of the rule, and a `rank`.
    """
    counts = [len(part.verdicts) for part in findings]
    some = [part.verdicts for part in findings if part is not NOTHING]
    verdicts = pd.concat([NOTHING.verdicts, *some], ignore_index=True)
    number = np.repeat(np.arange(len(rules)), counts)
    own = {
        name: pd.Series([getattr(rule, name) for rule in rules], dtype="str").iloc[number].reset_index(drop=True)
        for name in ("code", "fix", "severity")
    }
    cause = verdicts["cause"].fillna(verdicts["seen"] + ("; " + verdicts["fix"]).fillna(""))
    fix, severity = (verdicts[name].fillna(own[name]) for name in ("fix", "severity"))
    verdicts = verdicts.assign(rule=own["code"], severity=severity, fix=fix, cause=cause)
    starts = np.cumsum(counts) - counts
    places = [part.places + start for part, start in zip(findings, starts, strict=True)]
    place, row = np.concatenate([NOTHING.places, *places]), np.concatenate([NOTHING.rows, *(f.rows for f in findings)])
    rank = severity.map(_RANKS).to_numpy(dtype=int)
    return pd.DataFrame({"row": row, "place": place, "number": number[place], "rank": rank[place]}), verdicts


def _yields_to_stronger(rules: Sequence[Rule], found: pd.DataFrame, trunk_count: int) -> NDArray[np.bool_]:
    """Return a flag per finding: a rule that its rule yields to has a finding at least as severe on the trunk."""
    rows, ranks, numbers = (found[name].to_numpy() for name in ("row", "rank", "number"))
    is_weaker = np.zeros(len(found), dtype=bool)
    bounds = pairwise(np.searchsorted(numbers, np.arange(len(rules) + 1)))
    places = {rule.code: slice(*bound) for rule, bound in zip(rules, bounds, strict=True)}
    for rule in rules:
        own = places[rule.code]
        for other in (places[code] for code in rule.yields_to if code in places):
            if own.start == own.stop or other.start == other.stop:
                continue
            strongest = np.full(trunk_count, len(_RANKS))
            strongest[rows[other]] = ranks[other]
            is_weaker[own] |= strongest[rows[own]] <= ranks[own]
    return is_weaker


def _rank(trunks: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of each row in the order of account and id."""
    accounts = pd.factorize(trunks["account"], sort=True)[0]
    ids = trunks["id"].astype("Int64").to_numpy(dtype=float, na_value=np.inf)
    return np.argsort(np.lexsort((ids, accounts)))
