"""Reports by name."""

from collections.abc import Iterable, Sequence

import pandas as pd

from trunk_transforms.audit.rules.context import AUDITED
from trunk_transforms.reports.inputs import ReportInputs
from trunk_transforms.schema.reports import AUDIT_REPORTS, DERIVED, REPORTS


def derive_report(name: str, inputs: ReportInputs) -> pd.DataFrame:
    """Return a report. Grain and columns: those of its table in `REPORTS`. Raises KeyError if it does not exist."""
    if by := REPORTS[name].by:
        return inputs.count(inputs.options.by if name == "counts" else by)
    report: pd.DataFrame = inputs.findings if name == "audit" else getattr(inputs, name)
    return report


def derive_page(names: Iterable[str], inputs: ReportInputs) -> dict[str, pd.DataFrame]:
    """Return these reports as the page shows them: growth in steps that fit a chart, and changes with nicknames."""
    shown = {"growth": "fitted_growth", "changes": "named_changes"}
    return {name: getattr(inputs, shown[name]) if name in shown else derive_report(name, inputs) for name in names}


def tables_needed(names: Sequence[str]) -> set[str]:
    """Return the names of the frames that these reports need."""
    return {need for name in names for need in REPORTS[name].needs}


def trunk_columns(names: Sequence[str], by: Sequence[str], only: Sequence[str] = ()) -> list[str]:
    """Return the columns of the trunks that these reports need; a derived column is replaced by its base.

    `by` and `only` are the options of these names.
    """
    if AUDIT_REPORTS & set(names):
        wanted = [*AUDITED, "nickname", *by]
    else:
        wanted = [column for name in names for column in (by if name == "counts" else REPORTS[name].by)]
        wanted += ["sip_address"] if "coverage" in names else []
        wanted += ["account", "id", "phone_number", "nickname"] if "unanswered" in names else []
        wanted += ["account"] if only else []
    return list(dict.fromkeys(DERIVED[name].base if name in DERIVED else name for name in wanted))
