"""Frames reduced to what fits a page, and texts that cannot fool their reader."""

from __future__ import annotations

import pandas as pd
import pytest

from sip_trunks.reporting.chart_style import SEVERITY_COLOURS
from sip_trunks.reporting.summaries import (
    Bar,
    count_causes,
    counted_by,
    cross,
    describe_growth,
    group_by_cause,
    group_by_rule,
    group_findings,
    name_column,
    rank,
    readable,
)
from tests.support.counted import FRAMES, TWO_ACCOUNTS, counts, findings, growth
from trunk_transforms.history.growth import sum_growth
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.schema.reports import GROWTH


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (pd.NA, "–"),
        (float("nan"), "–"),
        (pd.NaT, "–"),
        ("", ""),
        (0, "0"),
        (False, "False"),
        ("Jürgen 東京 🙂", "Jürgen 東京 🙂"),
        ("<b>&amp;", "<b>&amp;"),  # escaping is for who writes the page
        ("one\ntwo\r\n\ttab", r"one\ntwo\r\n\ttab"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("a\u202eb\u2066c\u200ed", r"a\u202eb\u2066c\u200ed"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\u3164\u2800\u115f\ufe0f\U000e0101", r"\u3164\u2800\u115f\ufe0f\U000e0101"),
        ("lone \ud800", r"lone \ud800"),
        ("line\u2028end", r"line\u2028end"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("\n" * 40, (r"\n" * 40)[:59] + "…"),
    ],
)
def test_text_is_one_line_that_cannot_fool_its_reader(value: object, text: str) -> None:
    assert readable(value) == text
    assert len(readable(value)) <= 60


def test_text_is_as_long_as_it_is_asked_to_be() -> None:
    assert readable("abcdef", 6) == "abcdef"
    assert readable("abcdefg", 6) == "abcde…"
    assert readable("x" * 10**7, 3) == "xx…"


def test_columns_have_names_for_people() -> None:
    assert name_column("sip_calling_format") == "calling format"
    assert name_column("country_code") == "country"
    assert name_column("number_kind") == "number kind"
    assert name_column("new\u202e_field") == r"new\u202e field"


def test_trunks_are_counted_by_the_columns_that_are_neither_counts_nor_names_of_countries() -> None:
    assert counted_by(FRAMES["counts"].assign(country_name="x")) == ["sip_calling_format", "country_code"]
    assert counted_by(counts(("Germany", 1), by=("country_name",))) == ["country_name"]


def test_the_most_frequent_come_first_and_the_others_are_one_bar() -> None:
    frame = counts(("b", 2), ("a", 10), (None, 5), ("d", 2), ("c", 1), by=("provider",))
    assert rank(frame, 3) == [Bar("a", 10, 50), Bar("–", 5, 25), Bar("b", 2, 10), Bar("2 others", 3, 15)]
    assert rank(frame, 4)[-1] == Bar("1 other", 1, 5)
    assert [bar.label for bar in rank(frame, 5)] == ["a", "–", "b", "d", "c"]
    assert rank(frame.iloc[:0], 5) == []


def test_a_bar_of_several_columns_says_all_of_them() -> None:
    frame = counts(("e164", "DE", "x", 1), by=("sip_calling_format", "country_code", "account"))
    assert [bar.label for bar in rank(frame.assign(country_name="Germany"), 1)] == ["e164 · Germany (DE) · x"]


CROSSED = counts(
    ("e164", "DE", 8),
    ("e164", "FR", 4),
    ("+e164", "DE", 2),
    (None, "FR", 3),
    ("national", "IT", 5),
    ("e164", None, 1),
    ("+e164", "IT", 6),
)


def test_a_grid_has_the_most_frequent_first_on_both_sides() -> None:
    # DE 10, IT 11, FR 7, none 1; e164 13, +e164 8, national 5, none 3.
    grid = cross(CROSSED, ("sip_calling_format", "country_code"), 9, 9)
    assert grid.rows == ["IT", "DE", "FR", "–"]
    assert grid.columns == ["e164", "+e164", "national", "–"]
    assert grid.cells == [[0, 6, 5, 0], [8, 2, 0, 0], [4, 0, 0, 3], [1, 0, 0, 0]]
    assert grid.most == 8


def test_the_others_of_a_grid_are_one_row_and_one_column_with_their_sums() -> None:
    grid = cross(CROSSED, ("sip_calling_format", "country_code"), 2, 1)
    assert grid.rows == ["IT", "DE", "2 others"]
    assert grid.columns == ["e164", "3 others"]
    assert grid.cells == [[0, 11], [8, 2], [5, 3]]
    assert sum(map(sum, grid.cells)) == int(CROSSED["trunk_count"].sum())
    assert cross(CROSSED, ("sip_calling_format", "country_code"), 3, 3).rows[-1] == "1 other"


def test_the_others_do_not_pale_the_rest() -> None:
    grid = cross(CROSSED, ("sip_calling_format", "country_code"), 2, 1)
    assert grid.most == 8
    assert grid.heat(8) == grid.heat(11) == 9


def test_the_heat_goes_from_nothing_to_the_most() -> None:
    grid = cross(counts(("a", "b", 6400)), ("sip_calling_format", "country_code"), 9, 9)
    # 1 + 8 times the root of the share: of 100, 400, 900, … in 6400 it is 1/8, 2/8, 3/8, …
    assert [grid.heat(100 * step * step) for step in range(9)] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert grid.heat(1) == 1


def test_countries_have_their_name_with_their_code() -> None:
    frame = counts(("e164", "DE", 2), ("e164", "XX", 1)).assign(country_name=pd.array(["Germany", None]))
    grid = cross(frame, ("sip_calling_format", "country_code"), 9, 9)
    assert grid.rows == ["Germany (DE)", "XX"]


def test_labels_of_a_grid_differ_even_if_their_texts_share_a_prefix() -> None:
    frame = counts(("x" * 100 + "1", "–", 3), ("x" * 100 + "2", None, 2))
    grid = cross(frame, ("sip_calling_format", "country_code"), 9, 9)
    assert grid.rows == ["–", "– (2)"]
    assert grid.columns == ["x" * 59 + "…", "x" * 59 + "… (2)"]
    assert grid.cells == [[3, 0], [0, 2]]


def test_findings_come_by_severity_and_then_by_number_and_name() -> None:
    assert list(SEVERITY_COLOURS) == list(reversed(SEVERITIES))
    mixed = findings(("low", "z", 9), ("high", "b", 1), ("high", "c", 4), ("high", "a", 1), ("critical", "c", 1))
    assert group_findings(mixed) == [
        ("critical", "c", 1),
        ("high", "c", 4),
        ("high", "a", 1),
        ("high", "b", 1),
        ("low", "z", 9),
    ]
    assert group_findings(mixed.iloc[:0]) == []


def test_findings_are_grouped_by_cause_and_by_rule_with_the_first_rows() -> None:
    at = pd.Timestamp("2026-03-01T12:00:00Z")
    made = pd.DataFrame(
        [
            ("low", "host-ip", "a", "fix", "seen 1", None, None),
            ("high", "number-invalid", "b", "fix", "same", at, True),
            ("high", "number-invalid", "c", None, "other", None, False),
            ("high", "number-invalid", "b", "fix", "same", at - pd.Timedelta(days=1), None),
            ("low", "host-ip", "a", "fix", "seen 2", None, None),
        ],
        columns=["severity", "rule", "cause", "fix", "seen", "opened_at", "is_new_rule"],
    ).astype({"opened_at": "datetime64[us, UTC]", "is_new_rule": "boolean"})
    groups = group_by_cause(made, most=1)
    assert [(g.rule, g.cause, g.fix, g.text, g.is_one, g.opened_at, g.new_count, g.count) for g in groups] == [
        ("number-invalid", "b", "fix", "same", True, at - pd.Timedelta(days=1), 1, 2),
        ("number-invalid", "c", None, "other", True, None, 0, 1),
        ("host-ip", "a", "fix", "a", False, None, 0, 2),
    ]
    assert [[row["seen"] for row in group.rows] for group in groups] == [["same"], ["other"], ["seen 1"]]
    rules = group_by_rule(made, most=1, most_groups=1)
    assert [(r.severity, r.rule, r.count, r.new_count, r.cause_count, r.group_count, r.fix) for r in rules] == [
        ("high", "number-invalid", 3, 1, 2, 2, None),
        ("low", "host-ip", 2, 0, 1, 1, "fix"),
    ]
    assert [rule.groups for rule in rules] == [groups[:1], groups[2:]]
    assert group_by_rule(made.iloc[:0], most=1, most_groups=1) == []
    assert count_causes(made) == 3


def test_the_growth_of_all_accounts_sums_the_last_observation_of_each() -> None:
    summed = sum_growth(TWO_ACCOUNTS)
    assert list(summed.columns) == ["period", *(name for name in GROWTH.names if name not in ("account", "period"))]
    assert [f"{period:%m}" for period in summed["period"]] == ["01", "02", "03", "04"]
    assert summed["created_count"].tolist() == [3, 6, 1, 1]
    assert summed["vanished_count"].tolist() == [0, 1, 0, 2]
    assert summed["snapshot_count"].tolist() == [1, 2, 0, 2]
    assert summed["trunk_count"].astype(object).where(summed["trunk_count"].notna(), None).tolist() == [
        10,
        16,
        None,
        16,
    ]


def test_an_account_without_an_observation_counts_as_it_was() -> None:
    later = growth(("a", "2026-01-01", 0, 0, 10), ("a", "2026-02-01", 0, 0, None), ("b", "2026-02-01", 0, 0, 5))
    assert sum_growth(later)["trunk_count"].tolist() == [10, 15]


def test_of_a_long_growth_the_last_sixty_periods_are_there() -> None:
    rows = [("a", f"{2020 + number // 12}-{number % 12 + 1:02}-01", number, 0, 1) for number in range(70)]
    summed = sum_growth(growth(*rows))
    assert summed["created_count"].tolist() == list(range(10, 70))


def test_the_growth_is_described_in_a_sentence() -> None:
    # 3 + 6 + 1 + 1 created, 12 + 4 there.
    assert describe_growth(sum_growth(TWO_ACCOUNTS)) == (
        "Since 1 Jan 2026: 11 created, 3 vanished; 16 trunks in the last snapshot."
    )
    unseen = sum_growth(growth(("a", "2026-01-01", 3, 0, None)))
    assert describe_growth(unseen) == "No snapshots are stored."
