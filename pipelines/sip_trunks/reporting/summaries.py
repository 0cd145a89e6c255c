"""Report frames → summaries that fit a page or a picture: ranked, crossed, summed and cut, with readable labels."""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sip_trunks.reporting.formats import frame_records, name_moment, number_twins
from trunk_transforms.enrich.countries import derive_country_name, unify_countries
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER
from trunk_transforms.history.timeline import count_changed
from trunk_transforms.reports.counts import count_changes, derive_shares
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.schema.reports import COUNT_COLUMNS
from trunk_transforms.text import count_of, printable

_LONGEST_LABEL = 60
_RULE = ["severity", "rule"]
_CAUSE = [*_RULE, "cause", "fix"]
_WEEK = 7
_NAMES = {
    "sip_calling_format": "calling format",
    "country_code": "country",
    "inbound_authorization_type": "inbound authorization",
    "outbound_proxy": "outbound proxy",
    "sip_address": "SIP address",
    "sip_username": "username",
    "phone_number": "number",
    "allowed_inbound_ips": "allowlist",
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
    head, rest = ordered.head(most), ordered.iloc[most:]
    labels = [" · ".join(_label(row, column) for column in counted_by(counts)) for row in head.to_dict("records")]
    pairs = list(zip(number_twins(labels, "{} ({})"), map(int, head["trunk_count"]), strict=True))
    if len(rest):
        pairs.append((count_of(len(rest), "other"), int(rest["trunk_count"].sum())))
    shares = list_shares([count for _, count in pairs])
    return [Bar(label, count, share) for (label, count), share in zip(pairs, shares, strict=True)]


def list_shares(counts: Sequence[int]) -> list[float]:
    """Return the shares of counts as they are shown: in percent with one digit, which sum to 100."""
    return derive_shares(pd.Series(counts, dtype="int64"), 1).tolist()


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


def label_rows(counts: pd.DataFrame, most: int) -> pd.Series:
    """Return the label of the bar of each row, as `rank` names them."""
    bars = rank(counts, most)
    order = counts.sort_values("trunk_count", ascending=False, kind="stable").index
    return pd.Series([bars[min(place, len(bars) - 1)].label for place in range(len(order))], order, dtype="str")


def label_cells(counts: pd.DataFrame, by: Sequence[str], most_rows: int, most_columns: int) -> pd.DataFrame:
    """Return the labels `row` and `column` of the cell of each row, as `cross` names them."""
    folded = (_fold(counts, *pair) for pair in zip(_as_grid(by), (most_rows, most_columns), strict=True))
    return pd.DataFrame(
        {
            name: indexes.map(dict(enumerate(labels)))
            for name, (labels, indexes) in zip(("row", "column"), folded, strict=True)
        }
    )


def _as_grid(by: Sequence[str]) -> tuple[str, str]:
    first, second = by
    return (second, first) if second == "country_code" else (first, second)


def cross(counts: pd.DataFrame, by: Sequence[str], most_rows: int, most_columns: int) -> Grid:
    """Return the counts by two columns as a grid, most frequent values first, with one row and column for all others.

    Countries are always the rows, because a page has more room downwards.
    """
    rows, columns = _as_grid(by)
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


def describe_changes(changes: pd.DataFrame, changed_count: int = 0) -> str:
    """Return the number of changes in words: `2 added trunks, 1 changed trunk, 5 changed fields`.

    The arguments are those of `count_changes`.
    """
    counts = count_changes(changes, changed_count)
    drift_count = counts["changed trunks"] - count_changes(changes)["changed trunks"]
    remarks = {"changed trunks": f" ({drift_count:,} only by drift)"} if drift_count else {}
    words = (count_of(n, name.removesuffix("s")) + remarks.get(name, "") for name, n in counts.items() if n)
    return ", ".join(words) or "no added or removed trunks, no changed fields"


def group_findings(findings: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return severity, rule and number of findings, ordered by severity (worst first), number and rule."""
    counts = Counter(zip(findings["severity"], findings["rule"], strict=True))
    return sorted(((severity, rule, count) for (severity, rule), count in counts.items()), key=_worst_first)


def _worst_first(found: tuple[str, str, int]) -> tuple[int, int, str]:
    severity, rule, count = found
    return -SEVERITIES.index(severity), -count, rule


@dataclass(slots=True)
class FindingGroup:
    """The findings of a rule with one severity, cause and fix: one row per trunk.

    `text` is the observed value if it is the same for all of them (`is_one`), else the cause. `opened_at` is the start
    of the oldest finding; a new release opened `new_count` of the `count` findings. `rows` has the first of them.
    """

    severity: str
    rule: str
    cause: str | None
    fix: str
    text: str
    is_one: bool
    opened_at: datetime | None
    new_count: int
    count: int
    rows: list[dict[str, Any]]


@dataclass(slots=True)
class RuleFindings:
    """The findings of a rule with one severity: numbers and the first groups; `fix` is None if they differ in it."""

    severity: str
    rule: str
    count: int
    new_count: int
    cause_count: int
    group_count: int
    fix: str | None
    groups: list[FindingGroup]


def group_by_cause(findings: pd.DataFrame, most: int) -> list[FindingGroup]:
    """Return the findings by rule and cause, in the order of `group_findings`, with the first `most` rows of each."""
    order = {found[:2]: place for place, found in enumerate(group_findings(findings))}
    groups = _list_groups(findings, *_number_groups(findings), most)
    return sorted(groups, key=lambda group: order[group.severity, group.rule])


def group_by_rule(findings: pd.DataFrame, most: int, most_groups: int) -> list[RuleFindings]:
    """Return the findings by rule, as in `group_findings`: the first `most_groups` groups, with `most` rows each."""
    numbers, groups = _number_groups(findings)
    by_rule = groups.groupby(_RULE, sort=False)
    shown: defaultdict[tuple[str, str], list[FindingGroup]] = defaultdict(list)
    for group in _list_groups(findings, numbers, groups.loc[by_rule.cumcount() < most_groups], most):
        shown[group.severity, group.rule].append(group)
    facts = by_rule.agg(
        first=("first", "first"),
        count=("count", "sum"),
        new_count=("new_count", "sum"),
        cause_count=("cause", "nunique"),
        group_count=("count", "size"),
        fix_count=("fix", "nunique"),
    )
    facts = findings.iloc[facts.pop("first")][[*_RULE, "fix"]].set_axis(facts.index).join(facts).reset_index(drop=True)
    facts["fix"] = facts["fix"].where(facts.pop("fix_count") == 1)
    rules = [RuleFindings(**row, groups=shown[row["severity"], row["rule"]]) for row in frame_records(facts)]
    return sorted(rules, key=lambda found: _worst_first((found.severity, found.rule, found.count)))


def _number_groups(findings: pd.DataFrame) -> tuple[NDArray[np.integer[Any]], pd.DataFrame]:
    """Return the number of each finding's group, and the groups by number: counts, the first row, codes for texts."""
    codes = pd.DataFrame({name: pd.factorize(findings[name])[0] for name in _CAUSE})
    numbers = codes.groupby(_CAUSE, sort=False).ngroup().to_numpy()
    firsts = np.flatnonzero(~pd.Series(numbers).duplicated())
    seen, is_new = pd.factorize(findings["seen"])[0], findings["is_new_rule"].fillna(value=False)
    return numbers, codes.iloc[firsts].reset_index(drop=True).assign(
        first=firsts,
        is_one=np.bincount(numbers, seen != seen[firsts][numbers]) == 0,
        opened_at=findings["opened_at"].groupby(numbers).min(),
        new_count=np.bincount(numbers, is_new).astype(int),
        count=np.bincount(numbers),
    )


def _list_groups(
    findings: pd.DataFrame, numbers: NDArray[np.integer[Any]], groups: pd.DataFrame, most: int
) -> list[FindingGroup]:
    """Return these groups with the first `most` rows of each."""
    is_shown = (findings.groupby(numbers).cumcount().to_numpy() < most) & np.isin(numbers, groups.index)
    rows = defaultdict(list)
    for number, row in zip(numbers[is_shown].tolist(), frame_records(findings.loc[is_shown]), strict=True):
        rows[number].append(row)
    texts = findings.iloc[groups["first"]].set_axis(groups.index)
    text = texts["seen"].where(groups["is_one"], texts["cause"])
    facts = frame_records(groups.assign(**texts[_CAUSE], text=text).drop(columns="first"))
    return [FindingGroup(**values, rows=rows[number]) for number, values in zip(groups.index, facts, strict=True)]


def count_causes(findings: pd.DataFrame) -> int:
    """Return the number of causes."""
    return len(findings.drop_duplicates(_CAUSE))


def describe_growth(periods: pd.DataFrame) -> str:
    """Return the content of the growth chart as a sentence."""
    seen = periods["trunk_count"].dropna()
    if not len(seen):
        return "No snapshots are stored."
    created, vanished = (int(periods[name].sum()) for name in ("created_count", "vanished_count"))
    return (
        f"Since {name_moment(periods['period'].iloc[0])}: {created:,} created, {vanished:,} vanished; "
        f"{count_of(int(seen.iloc[-1]), 'trunk')} in the last snapshot."
    )


# ---------------------------------------------------------------------- conclusions: one sentence on a report


def conclude_counts(counts: pd.DataFrame) -> str:
    """Return the most frequent value of counted trunks as a sentence; empty without trunks.

    Missing values, the provider `unknown`, and codes that are not of a country, do not count as values.
    """
    by, total = counted_by(counts), int(counts["trunk_count"].sum())
    if not total:
        return ""
    name, is_known = name_columns(by), counts[by].notna().all(axis="columns")
    if by == ["provider"]:
        is_known &= counts["provider"] != UNKNOWN_PROVIDER
    if by == ["country_code"]:
        is_known &= counts["country_name"].notna()
    bars, rest = rank(counts[is_known], len(counts)), total - int(counts.loc[is_known, "trunk_count"].sum())
    none = f"{rest:,} of {count_of(total, 'trunk')} {'has' if rest == 1 else 'have'} no known {name}"
    if not bars:
        return f"{none}."
    best = [bar for bar in bars if bar.count == bars[0].count]
    if len(bars) == 1 and not rest:
        return (
            f"{'The only trunk has' if total == 1 else f'All {total:,} trunks have'} the same {name}: {best[0].label}."
        )
    share = f"{best[0].count:,} of {count_of(total, 'trunk')} ({best[0].count * 100 / total:.0f} %)"
    labels = " and ".join(bar.label for bar in best) if len(best) < 3 else f"{len(best)} values"
    text = f"Most frequent {name}: {labels}, {share}{' each' if len(best) > 1 else ''}"
    return f"{text}; {rest:,} {'is' if rest == 1 else 'are'} unknown." if rest else f"{text}."


def conclude_growth(versions: pd.DataFrame, observations: pd.DataFrame, as_of: datetime) -> str:
    """Return how many trunks there are more or fewer than a week before `as_of` (UTC), and where, as a sentence.

    An account that is known for less than a week is compared with its first snapshot.
    """
    seen_at, week_ago = observations["snapshot_at"], pd.Timestamp(as_of) - timedelta(days=_WEEK)
    if seen_at.empty:
        return "No snapshots are stored."
    first_at = observations.groupby("account")["snapshot_at"].min()
    if seen_at.nunique() == 1:
        return f"One snapshot is stored, from {seen_at.max():%d %b %Y}; growth appears after the second."
    if seen_at.max() <= week_ago:
        return f"The last snapshot is from {seen_at.max():%d %b %Y}; changes in the last week are unknown."
    compared_at = versions["account"].map(first_at.where(first_at > week_ago, week_ago))
    before = _countries(versions[(versions["valid_from"] <= compared_at) & ~(versions["valid_to"] <= compared_at)])
    after = _countries(versions[versions["valid_to"].isna()])
    added, removed = after[~after.index.isin(before.index)], before[~before.index.isin(after.index)]
    is_new = first_at > week_ago
    since = "in the first snapshot" if is_new.all() else "a week ago"
    since += " (new accounts: in their first snapshot)" if is_new.any() and not is_new.all() else ""
    grown, moved = len(added) - len(removed), pd.concat([added, removed])
    text = f"{count_of(abs(grown), 'trunk')} {'more' if grown > 0 else 'fewer'} than {since}"
    if not grown:
        text = f"As many trunks as {since}"
    if len(added) and len(removed):
        text += f": {len(added):,} added, {len(removed):,} removed"
    return f"{text}{_where(moved)}."


def _countries(trunks: pd.DataFrame) -> pd.Series:
    """Return the name of the country of each trunk, by account and id."""
    named = derive_country_name(unify_countries(trunks[["account", "id", "country_code"]])).set_index(["account", "id"])
    return named["country_name"].fillna(named["country_code"])


def _where(countries: pd.Series) -> str:
    """Return the place of trunks as the end of a sentence: `, all in Germany`."""
    counts = countries.value_counts(dropna=False)
    if not len(counts):
        return ""
    place, count = counts.index[0], int(counts.iloc[0])
    there = "without a country" if pd.isna(place) else f"in {readable(place)}"
    if len(counts) == 1:
        return f", {({1: '', 2: 'both '}).get(count, 'all ')}{there}"
    return f", {count:,} of them {there}" if count * 2 > len(countries) else f", in {len(counts)} countries"


def conclude_changes(changes: pd.DataFrame, versions: pd.DataFrame, as_of: datetime) -> str:
    """Return the changes in the week before `as_of` (UTC) as a sentence; empty without changes."""
    since = as_of - timedelta(days=_WEEK)
    recent, changed_count = changes[changes["observed_at"] > since], count_changed(versions, since)
    if recent.empty and not changed_count:
        last_at = changes["observed_at"].max()
        return f"No changes in the last {_WEEK} days; the latest are from {last_at:%d %b %Y}." if len(changes) else ""
    fields = recent["field"].value_counts()
    often = f", most often {readable(fields.index[0])}" if len(fields) else ""
    return f"In the last {_WEEK} days: {describe_changes(recent, changed_count)}{often}."


def conclude_findings(findings: pd.DataFrame) -> str:
    """Return the number of findings and the most frequent of the worst as a sentence; empty without findings."""
    if findings.empty:
        return ""
    trunks = len(findings.drop_duplicates(["account", "trunk_id"]))
    severity, rule, count = group_findings(findings)[0]
    severe = int((findings["severity"] == severity).sum())
    text = f"{count_of(len(findings), 'finding')} on {count_of(trunks, 'trunk')}, {severe:,} of severity {severity}"
    return f"{text}; the first to fix: {readable(rule)}{f' ({count:,} trunks)' if count > 1 else ''}."
