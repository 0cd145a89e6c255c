"""Reports as text for a terminal: tables, and lines wrapped to its width."""

from __future__ import annotations

from collections import Counter
from textwrap import fill
from typing import TYPE_CHECKING, Any

from sip_trunks.reporting.formats import frame_records, frame_rows, in_markdown, name_item, write_frame, write_rows
from trunk_transforms.text import count_of, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sip_trunks.reporting.formats import Frames

_WIDTH = 80
_WIDEST_ITEM = 30
_MOST_TRUNKS = 10


def print_tables(frames: Frames, suppressed_count: int) -> None:
    """Print reports one after the other: the overview, changes and findings as lines, the others as tables."""
    for index, (name, frame) in enumerate(frames.items()):
        if len(frames) > 1:
            print(f"{chr(10) if index else ''}{name}\n")
        match name:
            case "overview":
                print_overview(frame_rows(frame))
            case "changes":
                _print_changes(frame)
            case "audit":
                _print_findings(frame, suppressed_count)
            case _:
                write_frame(frame, format_name="table")


def print_overview(rows: Sequence[Sequence[Any]]) -> None:
    """Print the rows of the overview as lines, each section named once."""
    items = min(max((len(item) for _, item, *_ in rows), default=0), _WIDEST_ITEM)
    before = None
    for section, name, value, detail in rows:
        item = name_item(section, name, value)
        head = section if section != before else ""
        shown = "" if value is None else str(value)
        start = f"{head:<9}  {shown:>7}  {printable(item, items):<{items}}  "
        print_wrapped(start, printable(detail or "", 2 * _WIDTH))
        before = section


def print_wrapped(start: str, text: str) -> None:
    """Print a text after `start`, wrapped to the width of a terminal."""
    lines = fill(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)
    print(lines or start.rstrip())


def _print_changes(changes: pd.DataFrame) -> None:
    """Print changes grouped by the snapshot that showed them, then their number."""
    from sip_trunks.reporting.summaries import describe_changes

    before = None
    for row in frame_records(changes):
        snapshot = f"{row['observed_at']:%Y-%m-%d %H:%M:%S}Z  {row['account']}"
        if snapshot != before:
            print(snapshot)
            before = snapshot
        legs = {"both": ": both legs re-created", "none": "", None: ""}
        outage = legs.get(row["legs"], f": {row['legs']} leg re-created")
        field = f"  {printable(row['field'], 40)}{outage}" if row["field"] else ""
        print(f"  trunk {row['trunk_id']}  {row['change']}{field}")
        for name in ("old", "new") if row["field"] else ():
            print_indented(name, _visible(row[name]))
        if row["note"]:
            print_indented("note", row["note"])
    print(describe_changes(changes))


def _visible(value: str | None) -> str:
    """Return a value, in quotes if it is empty or has unusual spaces; a dash for None."""
    if value is None:
        return "–"
    return value if value == " ".join(value.split()) and value else f'"{value}"'


def _print_findings(findings: pd.DataFrame, suppressed_count: int) -> None:
    """Print findings by rule and cause, worst first, with the first trunks of each, then their number by severity."""
    from sip_trunks.reporting.summaries import group_by_cause

    for group in group_by_cause(findings, _MOST_TRUNKS):
        since = f", since {group.opened_at:%Y-%m-%d}" if group.opened_at else ""
        print(f"{group.severity:<8}  {group.rule}{since}{', a new rule' if group.new_count == group.count else ''}")
        print_indented("seen" if group.is_one else "with", group.text)
        print_indented("fix", group.fix)
        for place, row in enumerate(group.rows):
            names = [printable(row[name], 50) for name in ("phone_number", "nickname") if row[name]]
            print_indented("" if place else "of", ", ".join((f"trunk {row['trunk_id']}", *names, row["account"])))
        if group.count > _MOST_TRUNKS:
            print_indented("", f"and {group.count - _MOST_TRUNKS} more; --format csv lists them all")
    print(_sum_findings(findings, suppressed_count))


def print_findings_as_markdown(findings: pd.DataFrame, suppressed_count: int, coverage: Sequence[str]) -> None:
    """Print a table with one row per rule and cause, worst first, then the sums and the gaps of the audit."""
    from sip_trunks.reporting.summaries import group_by_cause
    from trunk_transforms.audit.rules.wording import enumerate_first

    rows = []
    for group in group_by_cause(findings, _MOST_TRUNKS):
        trunks = [f"{row['account']} {row['trunk_id']}" for row in group.rows]
        listed = enumerate_first(trunks, group.count, _MOST_TRUNKS)
        since = group.opened_at and f"{group.opened_at:%Y-%m-%d}"
        rows.append([group.severity, group.rule, group.count, listed, since, group.text, group.fix])
    if rows:
        write_rows(["severity", "rule", "trunks", "of", "since", "seen", "fix"], rows, format_name="markdown")
        print()
    print(_sum_findings(findings, suppressed_count))
    for gap in coverage:
        print(f"\nCoverage: {in_markdown(printable(gap, 2_000))}")


def _sum_findings(findings: pd.DataFrame, suppressed_count: int) -> str:
    """Return the number of findings and causes, and the findings by severity, in words."""
    from sip_trunks.reporting.summaries import count_causes

    suppressed = f"; {suppressed_count} suppressed" if suppressed_count else ""
    if findings.empty:
        return f"no findings{suppressed}"
    counts = Counter(findings["severity"])
    found = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    causes = count_causes(findings)
    of_causes = f" of {count_of(causes, 'cause')}" if causes < len(findings) else ""
    new = int(findings["is_new_rule"].fillna(value=False).sum())
    of_new_rules = f"; {count_of(new, 'finding')} of new rules" if new else ""
    return f"{count_of(len(findings), 'finding')}{of_causes}: {found}{of_new_rules}{suppressed}"


def print_indented(head: str, text: str) -> None:
    """Print a text below a line, wrapped to the width of a terminal, with `head` at its left."""
    print_wrapped(f"{'':8}  {head:<4}  ", printable(text, 2_000))
