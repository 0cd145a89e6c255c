"""The registry of reports: each a question, the frame that answers it, and what its columns mean.

Everything is derived from what is stored (`Basis`), each frame once, whoever asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunk_transforms.audit.rules.context import AUDITED
from trunk_transforms.schema.reports import DERIVED, PRESETS, REPORT_TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from trunk_transforms.reports.inputs import Basis
    from trunk_transforms.schema.tables import Table


_TABLES = {table.name: table for table in REPORT_TABLES}


@dataclass(frozen=True)
class Report:
    """A report: what it answers, how it follows from the basis, which tables that takes, what its columns mean."""

    name: str
    question: str
    derive: Callable[[Basis], pd.DataFrame]
    needs: tuple[str, ...]

    @property
    def table(self) -> Table:
        """The table of the schema `reports` that it is published as."""
        return _TABLES["audit_findings" if self.name == "audit" else self.name]


def _preset(name: str, question: str) -> Report:
    return Report(name, question, lambda basis: basis.count(PRESETS[name]), ("trunks",))


REPORTS = {
    report.name: report
    for report in (
        Report(
            "overview",
            "What is there, what happened, what is wrong?",
            lambda basis: basis.overview,
            ("trunks", "versions", "looks", "drift"),
        ),
        Report(
            "counts",
            "How many trunks are there by calling format and country?",
            lambda basis: basis.count(basis.options.by),
            ("trunks",),
        ),
        _preset("by_format_and_country", "How many trunks are there by calling format and country?"),
        _preset("by_country", "How many trunks are there by country?"),
        _preset("by_provider", "How many trunks are there by provider?"),
        _preset("by_authorization", "How many trunks are authorised by allowlist, how many by password?"),
        _preset("by_number_kind", "How many trunks have a DID, how many an extension?"),
        Report(
            "growth",
            "How many trunks were created, came and went, month by month?",
            lambda basis: basis.growth,
            ("lifetimes", "looks"),
        ),
        Report(
            "changes",
            "Which trunks were added, removed or changed, and which legs did that re-create?",
            lambda basis: basis.changes,
            ("versions", "looks", "drift"),
        ),
        Report(
            "freshness",
            "When was each account last seen, and which runs have not come?",
            lambda basis: basis.freshness,
            ("looks",),
        ),
        Report(
            "audit",
            "What is misconfigured, how bad is it, and how is it mended?",
            lambda basis: basis.findings,
            ("trunks",),
        ),
    )
}

COUNTS = frozenset(("counts", *PRESETS))
"""The reports that count trunks, and need nothing but `tallies`."""


def tables_needed(names: Sequence[str]) -> set[str]:
    """Return the frames that these reports need."""
    return {need for name in names for need in REPORTS[name].needs}


def trunk_columns(names: Sequence[str], by: Sequence[str]) -> list[str]:
    """Return the columns of the trunks that these reports need, those of derived ones in their place."""
    if {"audit", "overview"} & set(names):
        wanted = [*AUDITED, *by]
    else:
        wanted = [column for name in names for column in (by if name == "counts" else PRESETS.get(name, ()))]
    return list(dict.fromkeys(DERIVED[name].base if name in DERIVED else name for name in wanted))
