"""From inputs to a report, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms.audit.rules.context import AUDITED
from trunk_transforms.schema.reports import DERIVED, REPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from trunk_transforms.reports.inputs import ReportInputs


def derive_report(name: str, inputs: ReportInputs) -> pd.DataFrame:
    """Return a report. Grain and columns: those of its table in `REPORTS`. Raises KeyError if there is none."""
    match name:
        case "overview":
            return inputs.overview
        case "counts":
            return inputs.count(inputs.options.by)
        case "growth":
            return inputs.growth
        case "changes":
            return inputs.changes
        case "freshness":
            return inputs.freshness
        case "audit":
            return inputs.findings
        case _:
            return inputs.count(REPORTS[name].by)


def tables_needed(names: Sequence[str]) -> set[str]:
    """Return the names of the frames that these reports need."""
    return {need for name in names for need in REPORTS[name].needs}


def trunk_columns(names: Sequence[str], by: Sequence[str]) -> list[str]:
    """Return the columns of the trunks that these reports need, with the base of a derived column in its place."""
    if {"audit", "overview"} & set(names):
        wanted = [*AUDITED, *by]
    else:
        wanted = [column for name in names for column in (by if name == "counts" else REPORTS[name].by)]
    return list(dict.fromkeys(DERIVED[name].base if name in DERIVED else name for name in wanted))
