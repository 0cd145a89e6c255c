"""Report frames → summaries that fit a page or a picture: ranked, crossed, summed and cut, with readable labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sip_trunks.reporting.formats import number_twins
from trunk_transforms.reports.counts import count_changes
from trunk_transforms.schema.reports import COUNT_COLUMNS, SEVERITIES
from trunk_transforms.text import printable

_MOST_PERIODS = 60
_LONGEST_LABEL = 60
_NAMES = {
    "sip_calling_format": "calling format",
    "country_code": "country",
    "inbound_authorization_type": "inbound authorization",
    "outbound_proxy": "outbound proxy",
    "sip_address": "SIP address",
}
# str.isprintable() is true for these, but no font draws them.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def readable(value: object, limit: int = _LONGEST_LABEL) -> str:
    """Return a value as one line of at most `limit` characters that cannot mislead a reader.

    A missing value is a dash. Control characters, marks that change the reading direction, and characters that no font
    draws are shown as escapes.
    """
    if value is None or value is pd.NA or value != value:
        return "–"
    text = str(value)[: limit + 1]
    return printable(_INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text), limit)


def name_column(column: str) -> str:
    """Return the name of a column for a heading."""
    return _NAMES.get(column, readable(column.replace("_", " ")))


def name_columns(columns: Sequence[str]) -> str:
    """Return the names of columns for a heading."""
    return " and ".join(map(name_column, columns))


def counted_by(counts: pd.DataFrame) -> list[str]:
    """Return the columns that trunks are counted by; a country's name belongs to its code."""
    named = {"country_name"} if "country_code" in counts else set()
    return [column for column in counts.columns if column not in {*COUNT_COLUMNS, *named}]


@dataclass(frozen=True)
class Bar:
    """One value with its number of trunks."""

    label: str
    count: int
    share_pct: float


def rank(counts: pd.DataFrame, most: int) -> list[Bar]:
    """Return the `most` most frequent rows, then one bar for all others."""
    ordered = counts.sort_values("trunk_count", ascending=False, kind="stable")
    total = max(int(counts["trunk_count"].sum()), 1)
    head, rest = ordered.head(most), ordered.iloc[most:]
    labels = [" · ".join(_label(row, column) for column in counted_by(counts)) for row in head.to_dict("records")]
    pairs = list(zip(number_twins(labels, "{} ({})"), map(int, head["trunk_count"]), strict=True))
    if len(rest):
        pairs.append((count_of(len(rest), "other"), int(rest["trunk_count"].sum())))
    return [Bar(label, count, count * 100 / total) for label, count in pairs]


@dataclass(frozen=True)
class Grid:
    """Trunks counted by two columns: the columns, a label for each row and column, and the cells row by row.

    `most` is the highest count of a single value; the sums of the others can be far higher.
    """

    by: tuple[str, str]
    rows: list[str]
    columns: list[str]
    cells: list[list[int]]
    most: int

    def heat(self, count: int) -> int:
        """Return the strength of a cell's colour, from 0 for an empty cell to 9 for `most` and more."""
        # The square root keeps small counts distinct if one count is far higher.
        return 1 + round(8 * min(count / max(self.most, 1), 1) ** 0.5) if count else 0


def cross(counts: pd.DataFrame, by: Sequence[str], most_rows: int, most_columns: int) -> Grid:
    """Return the counts by two columns as a grid, most frequent values first, with one row and column for all others.

    Countries are always the rows, because a page has more room downwards.
    """
    first, second = by
    rows, columns = (second, first) if second == "country_code" else (first, second)
    row_labels, row_indexes = _fold(counts, rows, most_rows)
    column_labels, column_indexes = _fold(counts, columns, most_columns)
    sums = counts["trunk_count"].groupby([row_indexes, column_indexes]).sum().unstack(fill_value=0)
    full = sums.reindex(index=range(len(row_labels)), columns=range(len(column_labels)), fill_value=0)
    cells = [[int(count) for count in row] for row in full.to_numpy()]
    most = max(count for row in cells[:most_rows] for count in row[:most_columns])
    return Grid((rows, columns), row_labels, column_labels, cells, most)


def _fold(counts: pd.DataFrame, column: str, most: int) -> tuple[list[str], pd.Series]:
    """Return labels for the most frequent values of a column and the others, and the index of each row's label."""
    codes, values = pd.factorize(counts[column], use_na_sentinel=False)
    totals = counts["trunk_count"].groupby(codes).sum().sort_values(ascending=False, kind="stable")
    indexes = {code: min(index, most) for index, code in enumerate(totals.index)}
    index_of_row = pd.Series(codes, index=counts.index).map(indexes).rename(column)
    firsts = counts.assign(**{"~index": index_of_row}).drop_duplicates("~index").sort_values("~index").head(most)
    # A chart merges values that have the same label, so every label is distinct.
    labels = number_twins((_label(row, column) for row in firsts.to_dict("records")), "{} ({})")
    return labels + [count_of(len(values) - most, "other")] * (len(values) > most), index_of_row


def _label(row: Mapping[Hashable, Any], column: str) -> str:
    value, country = readable(row[column]), readable(row.get("country_name"))
    return f"{country} ({value})" if column == "country_code" and country != "–" else value


def describe_changes(changes: pd.DataFrame) -> str:
    """Return the number of changes in words: `2 added trunks, 1 changed trunk, 5 changed fields`, or `no changes`."""
    counts = count_changes(changes)
    return ", ".join(count_of(count, name.removesuffix("s")) for name, count in counts.items() if count) or "no changes"


def group_findings(findings: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return severity, rule and number of findings, ordered by severity (worst first), number and rule."""
    counts = Counter(zip(findings["severity"], findings["rule"], strict=True))
    rules = [(severity, rule, count) for (severity, rule), count in counts.items()]
    return sorted(rules, key=lambda rule: (-SEVERITIES.index(rule[0]), -rule[2], rule[1]))


def sum_growth(growth: pd.DataFrame) -> pd.DataFrame:
    """Return the growth of all accounts together. Grain: one row per period, the last `_MOST_PERIODS` of them.

    `trunk_count` sums the last snapshot of each account; it is null in a period without snapshots.
    """
    counts = growth.pivot(index="period", columns="account", values="trunk_count").astype("float64")
    events = growth.drop(columns=["account", "trunk_count"]).groupby("period").sum()
    total = counts.ffill().sum(axis="columns").where(counts.notna().any(axis="columns"))
    return events.assign(trunk_count=total.astype("Int64")).tail(_MOST_PERIODS).reset_index()


def describe_growth(periods: pd.DataFrame) -> str:
    """Return the content of the growth chart as text, for screen readers."""
    seen = periods["trunk_count"].dropna()
    if not len(seen):
        return "Growth of the trunks: no snapshots are stored."
    created = int(periods["created_count"].sum())
    return (
        f"Growth of the trunks from {periods['period'].iloc[0]} to {periods['period'].iloc[-1]}: {created:,} created, "
        f"{int(seen.iloc[-1]):,} in the last snapshot. The table below has every number."
    )


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun: `1 trunk`, `2,000 trunks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
