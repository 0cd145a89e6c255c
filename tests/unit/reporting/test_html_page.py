"""The report page as text: it is inert, stays small, and says what it leaves out. Chromium shows the rest."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import (
    IMAGE,
    KINDS_OF_PAGES,
    PAGED,
    SCRIPT,
    Tags,
    assert_inert,
    count,
    derive_nothing,
    derive_typical,
    fill,
    find,
    page_of,
    render,
)
from trunk_transforms.audit.rules import RULES
from trunk_transforms.schema.reports import REPORTS

MOST_BYTES = 500_000


@pytest.mark.parametrize("kind", KINDS_OF_PAGES)
def test_a_page_is_inert(kind: str) -> None:
    assert_inert(page_of(kind))


@pytest.fixture(scope="module")
def huge() -> str:
    texts = (SCRIPT, IMAGE, "réception " * 30, "x" * 400, "plain")
    return render(fill(rows=20_000, countries=250, formats=6, accounts=500, texts=texts))


def numbers_of(pattern: str, page: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(pattern, page)]


def test_a_page_is_small_however_much_there_is(huge: str) -> None:
    assert len(huge.encode()) < MOST_BYTES


def test_a_page_says_how_much_it_leaves_out(huge: str) -> None:
    findings, changes, growth, accounts, fixed = (
        re.search(rf"<h2>{title}</h2>.*?</section>", huge, re.DOTALL) or pytest.fail(title)
        for title in ("Findings", "Changes", "Growth", "Accounts", "Fixed since last week")
    )
    shown = findings[0].count('<tr><th scope="row">')
    assert 100 < shown < 300
    assert shown + sum(numbers_of(r"and ([\d,]+) more", findings[0])) == 20_000
    assert sum(numbers_of(r">([\d,]+) trunks?[,<]", findings[0])) == 20_000
    assert "sip-trunks audit --select allowlist-open" in findings[0]
    assert numbers_of(r"and ([\d,]+) more: <code>sip-trunks sql &#34;FROM reports.changes", changes[0]) == [1_950]
    assert numbers_of(r"and ([\d,]+) more: <code>sip-trunks report growth", growth[0]) == [10]
    assert numbers_of(r"and ([\d,]+) more: <code>sip-trunks report accounts", accounts[0]) == [450]
    assert numbers_of(r"and ([\d,]+) more: <code>sip-trunks report fixed", fixed[0]) == [1_950]
    assert '<th scope="row">220 others</th>' in huge
    assert '<th scope="row">33 others</th>' in huge  # 5 + 40 providers, 12 of them shown


def test_the_sums_of_a_table_include_the_rows_that_it_leaves_out() -> None:
    counts = count(
        ["a", "b", "c", "d", "e", "f", "g"], [f"C{number}" for number in range(40)], [3, 1, 4, 1, 5, 9, 2, 6]
    )
    total = int(counts["trunk_count"].sum())
    page = render({"counts": counts})
    lines = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", page)
    sums = [numbers_of(r"<td[^>]*>([\d,]+)</td>", cells) for _, cells in lines]
    assert [name for name, _ in lines[-2:]] == ["10 others", "all"]
    assert '<th scope="col" class="n">3 others</th>' in page
    assert len(lines) == 32
    assert sums[-1][-1] == total == sum(sums[-1][:-1]) == sum(line[-1] for line in sums[:-1])


def test_a_fix_that_is_the_same_for_all_is_said_once() -> None:
    findings = find(len(RULES) * 3, ("text",))
    assert render({"audit": findings}).count("text 0") > 3 * len(RULES)
    once = findings.assign(fix="do this about it")
    assert render({"audit": once}).count("do this about it") == len(RULES)
    last = once["fix"].where(once.index < len(once) - 1, "do another thing")
    page = render({"audit": once.assign(fix=last)})
    assert page.count("do this about it") == len(RULES) - 1 + 2
    assert page.count("do another thing") == 1


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (
            '["192.0.2.1", "192.0.2.2"]',
            '["192.0.2.2", "192.0.2.3"]',
            "without <del>192.0.2.1</del> with <ins>192.0.2.3</ins>",
        ),
        ('["192.0.2.1"]', None, "without <del>192.0.2.1</del>."),
        ("[]", '["\\"><script>"]', "allowlist with <ins>&#34;&gt;&lt;script&gt;</ins>"),
        (
            '["192.0.2.1", "192.0.2.2"]',
            '["192.0.2.2", "192.0.2.1"]',
            "from <del>[&#34;192.0.2.1&#34;, &#34;192.0.2.2&#34;]</del> to <ins>[&#34;192.0.2.2&#34;, ",
        ),
        ("a1b2c3", "7", "from <del>a1b2c3</del> to <ins>7</ins>"),
    ],
)
def test_a_changed_allowlist_shows_the_entries_that_moved(old: str | None, new: str | None, shown: str) -> None:
    changes = derive_typical(names=("changes",))["changes"].head(1)
    page = render({"changes": changes.assign(change="changed", field="allowed_inbound_ips", old=old, new=new)})
    assert shown in page


def test_a_changed_trunk_is_one_line_with_its_name_and_its_fields_in_words() -> None:
    changes = derive_typical(names=("changes",))["changes"]
    one = changes.iloc[[0, 0, 0]].assign(
        trunk_id=7,
        change="changed",
        field=["outbound_proxy", "sip_address", "nickname"],
        old=["true", "sip.old.example", "Berlin"],
        new=["false", "sip.new.example", SCRIPT],
        legs=["outbound", "both", "none"],
        nickname=IMAGE,
    )
    (line,) = re.findall("<li>(.*?)</li>", render({"changes": one}))
    text = re.sub("<[^>]*>", "", line)
    assert text.startswith(f"{one['observed_at'].iloc[0]:%d %b %Y, 09:00 UTC}".lstrip("0"))
    assert "(trunk 7)" in text
    assert (
        ": outbound proxy from on to off; SIP address from sip.old.example to sip.new.example; nickname from Berlin to "
        in text
    )
    assert text.endswith("Both legs were re-created.")
    assert "<script" not in line
    assert "<img" not in line


EMPTY = {
    "counts": "No trunks are stored.",
    "by_country": "No trunks are stored.",
    "by_provider": "No trunks are stored.",
    "by_authorization": "No trunks are stored.",
    "by_number_kind": "No trunks are stored.",
    "growth": "No snapshots are stored.",
    "changes": "No trunk was added or removed, and no field changed.",
    "audit": "The audit has no findings.",
    "unanswered": "No trunk is known to be unanswered.",
    "coverage": "Every rule checks every trunk, by facts of the last twelve months.",
    "freshness": "No snapshots are stored.",
    "accounts": "No account is configured or stored.",
    "fixed": "No finding was fixed in the last 7 days.",
}


@pytest.mark.parametrize("name", REPORTS)
def test_an_empty_report_is_a_sentence(name: str) -> None:
    page = render(derive_nothing(names=(name,)))
    assert not {"table", "svg", "details"} & {tag for tag, _ in Tags(page).seen}
    if name != "overview":
        assert f"<p>{EMPTY[name]}</p>" in page
    else:
        assert "<b>0</b> <span>trunks</span>" in page
        assert "<b>0</b> <span>findings</span>" in page


def test_an_empty_account_is_a_page_without_tables() -> None:
    page = page_of("nothing")
    assert "<table" not in page
    for name in PAGED:
        # Without assignments, a page with other reports is silent about them.
        assert (EMPTY.get(name, "Overview") in page) == (name != "unanswered")


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_alone_is_a_page(name: str) -> None:
    page = render(derive_typical(names=(name,)))
    assert_inert(page)
    tags = [tag for tag, _ in Tags(page).seen]
    assert tags.count("h1") == tags.count("h2") == 1
    assert tags.count("table") + tags.count("li") > 0 or name == "coverage"  # no gaps
    assert "as of <strong>12 Mar 2026, 09:00 UTC</strong>" in page


def test_two_reports_of_one_shape_are_both_there() -> None:
    other = count(["x"], ["y"], [1]).rename(columns={"sip_calling_format": "provider"})
    page = render({"counts": other, "by_country": count(["e164"], ["DE"], [1])})
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == ["Trunks by country and provider", "Trunks by country and calling format"]


def test_the_overview_has_the_most_frequent_counts_where_no_table_has_them() -> None:
    assert "Most frequent" not in render(derive_typical())
    assert "+e164 · Germany" in render(derive_typical(names=("overview",)))
