"""Report frames → what fits on a page or into a picture: ranked, crossed, summed, cut, in words that can be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from itertools import count as count_from
from typing import TYPE_CHECKING, Any

import pandas as pd

from trunk_transforms.schema.reports import COUNT_COLUMNS, SEVERITIES
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

_MOST_PERIODS = 60
_LONGEST_LABEL = 60
_NAMES = {
    "sip_calling_format": "calling format",
    "country_code": "country",
    "inbound_authorization_type": "inbound authorisation",
    "outbound_proxy": "outbound proxy",
    "sip_address": "SIP address",
}
# str.isprintable() takes these for visible, and no font shows anything.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def readable(value: object, limit: int = _LONGEST_LABEL) -> str:
    """Return a value as text that cannot fool its reader: one line of at most `limit` characters.

    What is missing is a dash. Control characters, marks that turn the reading direction, and what no font shows come
    out as their escapes.
    """
    if value is None or value is pd.NA or value != value:
        return "–"
    text = str(value)[: limit + 1]
    return printable(_INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text), limit)


def name_column(column: str) -> str:
    """Return what a column is called in a heading."""
    return _NAMES.get(column, readable(column.replace("_", " ")))


def counted_by(counts: pd.DataFrame) -> list[str]:
    """Return the columns that the trunks are counted by; a country's name is no column of its own."""
    named = {"country_name"} if "country_code" in counts else set()
    return [column for column in counts.columns if column not in {*COUNT_COLUMNS, *named}]


@dataclass(frozen=True)
class Bar:
    """One value with its number of trunks."""

    label: str
    count: int
    share_pct: float


def rank(counts: pd.DataFrame, most: int) -> list[Bar]:
    """Return the most frequent rows, the others as one bar at the end."""
    ordered = counts.sort_values("trunk_count", ascending=False, kind="stable")
    total = max(int(counts["trunk_count"].sum()), 1)
    head = ordered.head(most)
    labels = [" · ".join(_label(row, column) for column in counted_by(counts)) for row in head.to_dict("records")]
    pairs = list(zip(_tell_apart(labels), map(int, head["trunk_count"]), strict=True))
    rest = ordered.iloc[most:]
    if len(rest):
        pairs.append((count_of(len(rest), "other"), int(rest["trunk_count"].sum())))
    return [Bar(label, count, count * 100 / total) for label, count in pairs]


@dataclass(frozen=True)
class Grid:
    """Trunks counted by two columns: a label for each row and column, and the cells row by row.

    `most` is the highest number of a cell that is not of the others: those together are far ahead of all.
    """

    rows: list[str]
    columns: list[str]
    cells: list[list[int]]
    most: int

    def heat(self, count: int) -> int:
        """Return how strong the colour of a cell is, from 0 for nothing to 9 for `most` and more."""
        # The root keeps small numbers apart where one is far ahead.
        return 1 + round(8 * min(count / max(self.most, 1), 1) ** 0.5) if count else 0


def cross(counts: pd.DataFrame, rows: str, columns: str, most_rows: int, most_columns: int) -> Grid:
    """Return the counts as a grid, the most frequent values first and the others as one at the end of each side."""
    row_labels, row_places = _fold(counts, rows, most_rows)
    column_labels, column_places = _fold(counts, columns, most_columns)
    sums = counts["trunk_count"].groupby([row_places, column_places]).sum().unstack(fill_value=0)
    full = sums.reindex(index=range(len(row_labels)), columns=range(len(column_labels)), fill_value=0)
    cells = [[int(count) for count in row] for row in full.to_numpy()]
    most = max(count for row in cells[:most_rows] for count in row[:most_columns])
    return Grid(row_labels, column_labels, cells, most)


def _fold(counts: pd.DataFrame, column: str, most: int) -> tuple[list[str], pd.Series]:
    """Return labels for the most frequent values of a column and the others, and the place of each row's label."""
    codes, values = pd.factorize(counts[column], use_na_sentinel=False)
    totals = counts["trunk_count"].groupby(codes).sum().sort_values(ascending=False, kind="stable")
    places = {code: min(place, most) for place, code in enumerate(totals.index)}
    place_of_row = pd.Series(codes, index=counts.index).map(places).rename(column)
    firsts = counts.assign(**{"~place": place_of_row}).drop_duplicates("~place").sort_values("~place").head(most)
    labels = _tell_apart(_label(row, column) for row in firsts.to_dict("records"))
    return labels + [count_of(len(values) - most, "other")] * (len(values) > most), place_of_row


def _label(row: Mapping[Hashable, Any], column: str) -> str:
    value, country = readable(row[column]), readable(row.get("country_name"))
    return f"{country} ({value})" if column == "country_code" and country != "–" else value


def _tell_apart(labels: Iterable[str]) -> list[str]:
    """Return the labels, each once: a chart would put two values into one place whose texts only begin alike."""
    told: dict[str, None] = {}
    for label in labels:
        others = (f"{label} ({number})" for number in count_from(2))
        told[next(each for each in chain([label], others) if each not in told)] = None
    return list(told)


def group_findings(findings: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return severity, rule and how many findings it has, the worst and then the most frequent first."""
    counts = findings.groupby(["severity", "rule"]).size().rename("count").reset_index().to_dict("records")
    rules = [(row["severity"], row["rule"], int(row["count"])) for row in counts]
    return sorted(rules, key=lambda rule: (-SEVERITIES.index(rule[0]), -rule[2], rule[1]))


def sum_growth(growth: pd.DataFrame) -> pd.DataFrame:
    """Return the growth of all accounts together. Grain: one row per period, the last `_MOST_PERIODS` of them.

    `trunk_count` sums what was last seen of each account; it is null in a period in which nobody looked.
    """
    counts = growth.pivot(index="period", columns="account", values="trunk_count").astype("float64")
    events = growth.drop(columns=["account", "trunk_count"]).groupby("period").sum()
    total = counts.ffill().sum(axis="columns").where(counts.notna().any(axis="columns"))
    return events.assign(trunk_count=total.astype("Int64")).tail(_MOST_PERIODS).reset_index()


def describe_growth(periods: pd.DataFrame) -> str:
    """Return what the chart shows, for who cannot see it."""
    seen = periods["trunk_count"].dropna()
    if not len(seen):
        return "Growth of the trunks: nobody has looked yet."
    created = int(periods["created_count"].sum())
    return (
        f"Growth of the trunks from {periods['period'].iloc[0]} to {periods['period'].iloc[-1]}: {created:,} created, "
        f"{int(seen.iloc[-1]):,} there at the last snapshot. The table below has every number."
    )


def count_of(count: int, noun: str) -> str:
    """Return how many there are of what: `1 trunk`, `2,000 trunks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
