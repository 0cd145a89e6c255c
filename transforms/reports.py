"""The registry of reports: each a question, a pure function from trunks to a frame, and its columns' meanings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from transforms.counts import BY_FORMAT_AND_COUNTRY, count_trunks
from transforms.schema import SIP_TRUNKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd


@dataclass(frozen=True)
class Report:
    """A report: `derive` takes the current trunks, of them the columns `needs`, and the options of the report."""

    name: str
    question: str
    needs: tuple[str, ...]
    derive: Callable[..., pd.DataFrame]
    columns: Mapping[str, str] = field(default_factory=dict)


_TRUNK_COLUMNS = {column.name: column.meaning for column in SIP_TRUNKS.columns}

REPORTS = {
    report.name: report
    for report in (
        Report(
            name="counts",
            question="How many trunks are there by calling format and country?",
            needs=BY_FORMAT_AND_COUNTRY,
            derive=count_trunks,
            columns=_TRUNK_COLUMNS
            | {
                "trunk_count": "Trunks with this combination of values.",
                "share_pct": "Their share of all trunks, in percent (0 to 100).",
            },
        ),
    )
}
