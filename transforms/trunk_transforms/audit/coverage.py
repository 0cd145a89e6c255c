"""The coverage of the audit: trunks on which rules are silent, and facts that may be out of date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pandas as pd

from trunk_transforms.audit.past import CREDENTIAL_AGE
from trunk_transforms.audit.rules.rule import Rule
from trunk_transforms.audit.rules.wording import MOST_CHARACTERS, agree, enumerate_some
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER, Providers, is_old
from trunk_transforms.schema.arguments import require_columns
from trunk_transforms.schema.findings import COVERAGE, COVERAGE_GAPS
from trunk_transforms.text import count_of, printable

_OTHER_RULES_ON_PROVIDERS = {"exposure-password", "inbound-auth-unsupported", "proxy-unneeded"}
_CREDENTIAL_AGE = "credential-age"
_UNKNOWN, _OLD, _SHORT, _NONE = COVERAGE_GAPS


def measure_coverage(
    counts: pd.DataFrame, providers: Providers, as_of: datetime, rules: Sequence[Rule], known_count: int | None = None
) -> pd.DataFrame:
    """Return the gaps of an audit by these rules on a day.

    Gaps are hosts of unknown providers, facts older than a year, and trunks without the history that a rule needs.
    Grain and columns: those of `COVERAGE`, most trunks first. Needs the number of trunks, `trunk_count`, by `provider`
    and `sip_address`. A trunk without a host has a finding instead. `known_count` trunks have a history of a year; None
    if no history was read. Raises ValueError if a column is missing.
    """
    require_columns(counts, ("provider", "sip_address", "trunk_count"), "counts")
    silent = [rule.code for rule in rules if needs_provider(rule)]
    by_provider = counts.groupby("provider")["trunk_count"].sum()
    unknown = counts.loc[counts["provider"] == UNKNOWN_PROVIDER, ["sip_address", "trunk_count"]]
    hosts = unknown.sort_values("trunk_count", ascending=False, kind="stable").itertuples(index=False)
    gaps = [(_UNKNOWN, host, count) for host, count in hosts]
    gaps += [
        (_OLD, f"{fact} of {day}", by_provider[name])
        for name in dict.fromkeys(counts["provider"].dropna())
        if name in providers.by_name
        for fact, day in providers.by_name[name].dates.items()
        if is_old(day, as_of)
    ]
    total, named = int(counts["trunk_count"].sum()), ", ".join(silent)
    rows = [(gap, item, int(count), total, named) for gap, item, count in gaps if silent]
    rows += _list_history_gaps(rules, total, known_count)
    types = dict.fromkeys(COVERAGE.names, "str") | {"trunk_count": "Int64", "audited_count": "Int64"}
    return pd.DataFrame(rows, columns=COVERAGE.names).astype(types)


def _list_history_gaps(
    rules: Sequence[Rule], total: int, known_count: int | None
) -> Iterator[tuple[str, str, int, int, str]]:
    if known_count is None:
        if total and (named := ", ".join(rule.code for rule in rules if rule.needs_past)):
            yield _NONE, "no history was read", total, total, named
    elif known_count < total and any(rule.code == _CREDENTIAL_AGE for rule in rules):
        yield _SHORT, f"shorter than {CREDENTIAL_AGE.days} days", total - known_count, total, _CREDENTIAL_AGE


def needs_provider(rule: Rule) -> bool:
    """Whether the rule has findings only on trunks whose provider is in the catalog."""
    return rule.family == "provider" or rule.code in _OTHER_RULES_ON_PROVIDERS


def describe_coverage(coverage: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each kind of gap."""
    by_gap = {gap: rows.to_dict("records") for gap, rows in coverage.groupby("gap")}
    if unknown := by_gap.get(_UNKNOWN):
        count = sum(row["trunk_count"] for row in unknown)
        have, them = agree(count, "has", "have"), agree(count, "it", "them")
        hosts = [f"{printable(row['item'], MOST_CHARACTERS)} ({row['trunk_count']})" for row in unknown]
        yield (
            f"{count} of {count_of(unknown[0]['audited_count'], 'trunk')} {have} an unknown provider, so the rules on "
            f"providers do not check {them}: {unknown[0]['rules']}. Hosts: {enumerate_some(hosts)}"
        )
    if old := by_gap.get(_OLD):
        yield f"facts older than 12 months, to be checked: {enumerate_some([row['item'] for row in old])}"
    for row in by_gap.get(_SHORT, ()):
        count, total = row["trunk_count"], count_of(row["audited_count"], "trunk")
        yield (
            f"{count} of {total} {agree(count, 'has', 'have')} a history {row['item']}, so the age of "
            f"{agree(count, 'its credential', 'their credentials')} is unknown"
        )
    for row in by_gap.get(_NONE, ()):
        yield f"no history was read, so these rules find nothing: {row['rules']}"
