"""Reports on more trunks than fit in memory: computed for parts of the accounts, then merged.

An `Engine` runs the jobs. A part is the `ReportInputs` of its accounts, so that the code is that of every other report.

    part ─count_groups─▶ its counts ────────────────┐
    part ─changes─▶ its changes ────────────────────┼─▶ added up or sorted: the same report
    part ─audit, rules within accounts─▶ its findings┘
    part ─keys─▶ keys in several parts ─▶ trunks with such a key ─audit, rules that compare accounts─▶ findings
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import attrgetter, methodcaller
from typing import Protocol

import numpy as np
import pandas as pd

from trunk_transforms.audit.engine import merge_findings
from trunk_transforms.audit.rules.context import gather_context
from trunk_transforms.audit.rules.rule import Rule
from trunk_transforms.audit.suppressions import suppress
from trunk_transforms.reports.counts import rank_groups
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.schema.reports import COUNT_REPORTS

Job = Callable[[ReportInputs], pd.DataFrame]

REPORTS_IN_PARTS = (*sorted(COUNT_REPORTS), "changes", "audit", "coverage")
"""The reports that can be computed in parts."""

KEY = "key"
"""The column of keys, which are hashes of numbers or networks. A collision costs time; the result is the same."""


class Engine(Protocol):
    """Runs jobs on parts of the accounts; every account is in one part."""

    def work_out(self, report: str, options: Options, job: Job) -> list[pd.DataFrame]:
        """Return the result of the job for each part, which has the tables that the report needs."""

    def find_shared(self, report: str, options: Options, job: Job) -> pd.Series:
        """Return the keys that the job returns for more than one row of all parts together, each once."""


@dataclass(frozen=True)
class PartitionedInputs(ReportInputs):
    """Report inputs in parts; `tables` has only `findings_history`, if an audit is stored."""

    engine: Engine

    def count(self, by: Sequence[str]) -> pd.DataFrame:
        """Return the number of trunks per combination of these columns, with country names next to country codes."""
        groups = self.engine.work_out("counts", replace(self.options, by=by), methodcaller("count_groups", by))
        return self._present(rank_groups(groups, by), by)

    @cached_property
    def changes(self) -> pd.DataFrame:
        """The changes, by step or between two moments."""
        parts = self.engine.work_out("changes", self.options, attrgetter("changes"))
        order = ["observed_at", "account", "trunk_id", "field"]
        return pd.concat(parts).sort_values(order, ascending=[False, True, True, True], ignore_index=True)

    def count_known(self) -> int:
        """Return the number of trunks with a history of a year."""
        parts = self.engine.work_out("audit", self.options, _count_known)
        return sum(int(part[KEY].sum()) for part in parts)

    @cached_property
    def _audited(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        alone = [rule for rule in self.options.rules if not rule.is_cross_account]
        findings = self.engine.work_out("audit", self.options, methodcaller("audit", alone))
        comparing = [rule for rule in self.options.rules if rule.is_cross_account]
        if comparing:
            shared = self.engine.find_shared("audit", self.options, partial(_list_keys, rules=comparing))
            if len(shared):
                trunks = self.engine.work_out("audit", self.options, partial(_pick, rules=comparing, shared=shared))
                together = pd.concat(trunks).sort_values(["account", "id"], ignore_index=True)
                findings.append(ReportInputs({"trunks": together}, self.options).audit(comparing))
        return suppress(merge_findings(findings), self.options.suppressions, self.options.as_of)


def _count_known(part: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame({KEY: [part.count_known()]})


def _list_keys(part: ReportInputs, rules: Sequence[Rule]) -> pd.DataFrame:
    """Return the hashes of the keys of these rules, each once per account that has it."""
    keys = _keys_by_row(part, rules)
    accounts = part.trunks["account"].reset_index(drop=True)
    return pd.DataFrame({KEY: keys, "account": accounts.reindex(keys.index)}).drop_duplicates()[[KEY]]


def _pick(part: ReportInputs, rules: Sequence[Rule], shared: pd.Series) -> pd.DataFrame:
    """Return the trunks of a part that have a key in `shared`."""
    keys = _keys_by_row(part, rules)
    return part.tables["trunks"].iloc[np.unique(keys.index[keys.isin(shared)])]


def _keys_by_row(part: ReportInputs, rules: Sequence[Rule]) -> pd.Series:
    context = gather_context(part.trunks, part.options.providers, part.options.as_of)
    keys = pd.concat([rule.code + " " + rule.keys(context) for rule in rules if rule.keys])
    return pd.util.hash_pandas_object(keys, index=False)
