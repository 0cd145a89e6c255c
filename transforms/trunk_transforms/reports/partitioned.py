"""Reports of more trunks than one machine can hold: worked out a part of the accounts at a time, then put together.

Whatever runs the parts (`Engine`), the functions are those of every other report: a part is a `ReportInputs` of its accounts.

    part ─tally─▶ counts of it ──────────────┐
    part ─changes─▶ its changes ─────────────┼─▶ summed up, or put in order: the same report
    part ─audit, account by account─▶ findings┘
    part ─keys─▶ those in several parts ─▶ trunks that have one ─audit, rules that compare accounts─▶ findings
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from trunk_transforms.audit.engine import audit_trunks, merge_findings
from trunk_transforms.audit.finding_log import with_ages
from trunk_transforms.audit.rules.context import gather_context
from trunk_transforms.audit.suppressions import suppress
from trunk_transforms.history.changes import order_changes
from trunk_transforms.reports.counts import rank_groups
from trunk_transforms.reports.inputs import ReportInputs
from trunk_transforms.reports.masking import mask_findings
from trunk_transforms.schema.reports import COUNT_REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunk_transforms.audit.rules.rule import Rule
    from trunk_transforms.reports.inputs import Options

    Job = Callable[[ReportInputs], pd.DataFrame]

REPORTS_IN_PARTS = (*sorted(COUNT_REPORTS), "changes", "audit")
"""The reports that can be worked out this way."""

KEY = "key"
"""The column of keys: a hash of a number or network; that two have the same one costs a look, and changes nothing."""


class Engine(Protocol):
    """What works jobs out on each part of the accounts; every trunk is in one part."""

    def work_out(self, report: str, options: Options, job: Job) -> list[pd.DataFrame]:
        """Return what the job makes of each part, given the tables that the report needs."""

    def find_shared(self, report: str, options: Options, job: Job) -> pd.Series:
        """Return the keys that the job returns for more than one row of all parts together, each once."""


@dataclass(frozen=True)
class PartitionedInputs(ReportInputs):
    """A inputs that is nowhere as a whole; `tables` has the log of the findings, if there is one."""

    engine: Engine

    def count(self, by: Sequence[str]) -> pd.DataFrame:
        """Return the trunks counted by these columns, names of countries beside their codes."""
        groups = self.engine.work_out("counts", replace(self.options, by=by), partial(_tally, by=by))
        return self._present(rank_groups(groups, by), by)

    @cached_property
    def changes(self) -> pd.DataFrame:
        """What changed."""
        return order_changes(_concat(self.engine.work_out("changes", self.options, _list_changes)))

    @cached_property
    def _audited(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        alone = [rule for rule in self.options.rules if not rule.is_cross_account]
        findings = self.engine.work_out("audit", self.options, partial(_find, rules=alone))
        comparing = [rule for rule in self.options.rules if rule.is_cross_account]
        if comparing:
            shared = self.engine.find_shared("audit", self.options, partial(_list_keys, rules=comparing))
            if len(shared):
                trunks = self.engine.work_out("audit", self.options, partial(_pick, rules=comparing, shared=shared))
                together = _concat(trunks).sort_values(["account", "id"], ignore_index=True)
                findings.append(_find(ReportInputs({"trunks": together}, self.options), comparing))
        return suppress(merge_findings(findings), self.options.suppressions, self.options.as_of)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """What is misconfigured, but for what is suppressed."""
        kept, _ = self._audited
        return with_ages(kept, self.tables.get("log"))


def _tally(part: ReportInputs, by: Sequence[str]) -> pd.DataFrame:
    return part.tally(by)


def _list_changes(part: ReportInputs) -> pd.DataFrame:
    return part.changes


def _find(part: ReportInputs, rules: Sequence[Rule]) -> pd.DataFrame:
    options = part.options
    findings = audit_trunks(part.trunks, providers=options.providers, as_of=options.as_of, rules=rules)
    return mask_findings(findings, part.tables["trunks"]) if options.is_masked else findings


def _list_keys(part: ReportInputs, rules: Sequence[Rule]) -> pd.DataFrame:
    """Return the hashes of what these rules compare accounts by, each once for each account that has it."""
    keys = _keys_by_row(part, rules)
    accounts = part.trunks["account"].reset_index(drop=True)
    return pd.DataFrame({KEY: keys, "account": accounts.reindex(keys.index)}).drop_duplicates()[[KEY]]


def _pick(part: ReportInputs, rules: Sequence[Rule], shared: pd.Series) -> pd.DataFrame:
    """Return the trunks of a part that have a key which is in several accounts."""
    keys = _keys_by_row(part, rules)
    return part.tables["trunks"].iloc[np.unique(keys.index[keys.isin(shared)])]


def _keys_by_row(part: ReportInputs, rules: Sequence[Rule]) -> pd.Series:
    facts = gather_context(part.trunks, part.options.providers, part.options.as_of)
    hashed = []
    for rule in rules:
        if rule.keys:
            keys = rule.code + " " + rule.keys(facts)
            hashed.append(pd.util.hash_pandas_object(keys, index=False))
    return pd.concat(hashed)


def _concat(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)
