"""Reports on a terminal: tables, and lines that fit its width."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from sip_trunks.reporting.formats import frame_rows, print_table, write_rows
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    Frames = Mapping[str, pd.DataFrame]


_WIDTH = 80


_WIDEST_ITEM = 30


def print_tables(frames: Frames, suppressed_count: int) -> None:
    """Print reports one below the other, each in the shape that suits it."""
    for place, (name, frame) in enumerate(frames.items()):
        if len(frames) > 1:
            print(f"{chr(10) if place else ''}{name}\n")
        if name == "overview":
            print_overview(frame_rows(frame))
        elif name == "changes":
            _print_changes(frame)
        elif name == "audit":
            _print_findings(frame, suppressed_count)
        else:
            write_rows(list(frame.columns), frame_rows(frame), form="table", total=total_line(frame))


def total_line(frame: pd.DataFrame) -> str | None:
    """Return the line below a report that counts trunks; None below any other."""
    return f"total: {frame['trunk_count'].sum()} trunks" if "share_pct" in frame else None


def print_overview(rows: Sequence[Sequence[Any]]) -> None:
    """Print the rows of the overview in lines that fit a terminal, each section named once."""
    import textwrap

    items = min(max((len(item) for _, item, *_ in rows), default=0), _WIDEST_ITEM)
    before = None
    for section, item, value, detail in rows:
        head = section if section != before else ""
        shown = "" if value is None else str(value)
        start = f"{head:<9}  {shown:>7}  {printable(item, items):<{items}}  "
        lines = textwrap.wrap(printable(detail or "", 2 * _WIDTH), _WIDTH - len(start), break_on_hyphens=False)
        print((start + "".join(lines[:1])).rstrip())
        for line in lines[1:]:
            print(f"{'':{len(start)}}{line}")
        before = section


def _print_changes(changes: pd.DataFrame) -> None:
    """Print changes below the snapshot that showed them, and how many there are."""
    counts: Counter[str] = Counter()
    before = None
    for change in frame_rows(changes):
        row = dict(zip(changes.columns, change, strict=True))
        snapshot = f"{row['observed_at']:%Y-%m-%d %H:%M:%S}Z  {row['account']}"
        if snapshot != before:
            print(snapshot)
            before = snapshot
        counts[row["change"]] += 1
        legs = {"both": ": both legs re-created", "none": "", None: ""}
        outage = legs.get(row["legs"], f": {row['legs']} leg re-created")
        field = f"  {printable(row['field'], 40)}{outage}" if row["field"] else ""
        print(f"  trunk {row['trunk_id']}  {row['change']}{field}")
        for name in ("old", "new"):
            if row["field"]:
                print_indented(name, _visible(row[name]))
        if row["note"]:
            print_indented("note", row["note"])
    fields = "field changed" if counts["changed"] == 1 else "fields changed"
    told = {"added": "added", "removed": "removed", "changed": fields}
    print(", ".join(f"{counts[change]} {text}" for change, text in told.items() if counts[change]) or "no changes")


def _visible(value: str | None) -> str:
    """Return a value as it is, in quotes where it would not be seen; a dash for none."""
    if value is None:
        return "–"
    return value if value == " ".join(value.split()) and value else f'"{value}"'


def _print_findings(findings: pd.DataFrame, suppressed_count: int) -> None:
    """Print findings one after the other, the worst first, and how many there are."""
    counts: Counter[str] = Counter()
    for finding in frame_rows(findings):
        row = dict(zip(findings.columns, finding, strict=True))
        counts[row["severity"]] += 1
        number = f" {printable(row['phone_number'], 40)}" if row["phone_number"] else ""
        since = f", since {row['first_seen_at']:%Y-%m-%d}" if row.get("first_seen_at") else ""
        print(f"{row['severity']:<8}  {row['rule']}")
        print_indented("of", f"trunk {row['trunk_id']}{number} ({row['account']}{since})")
        print_indented("seen", row["seen"])
        print_indented("fix", row["fix"])
    suppressed = f"; {suppressed_count} suppressed" if suppressed_count else ""
    if not counts:
        print(f"no findings{suppressed}")
        return
    found = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    total = sum(counts.values())
    print(f"{total} finding{'s' if total > 1 else ''}: {found}{suppressed}")


def print_indented(head: str, text: str) -> None:
    """Print a text below a line, wrapped to the width of a terminal."""
    import textwrap

    lines = textwrap.wrap(printable(text, 2_000), _WIDTH - 16, break_on_hyphens=False)
    for place, line in enumerate(lines or [""]):
        print(f"{'':8}  {head if not place else '':<4}  {line}")


def print_rules(rules: list[dict[str, str]], form: str) -> None:
    """Print the rules of the audit: what each asks, why, how to mend it, and where it is known from."""
    if form != "table":
        columns = list(rules[0]) if rules else []
        write_rows(columns, [list(rule.values()) for rule in rules], form=form)
        return
    if not sys.stdout.isatty():
        print_table(["rule", "severity", "question"], [[r["rule"], r["severity"], r["question"]] for r in rules])
        return
    for rule in rules:
        print(f"{rule['severity']:<8}  {rule['rule']}")
        for head, name in (("", "question"), ("why", "why"), ("fix", "fix"), ("from", "source")):
            print_indented(head, rule[name])
