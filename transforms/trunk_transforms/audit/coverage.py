"""The coverage of the audit: trunks and facts on which its rules know too little."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from trunk_transforms.audit.past import CREDENTIAL_AGE
from trunk_transforms.audit.rules.wording import agree, enumerate_some
from trunk_transforms.enrich.providers import UNKNOWN_PROVIDER, Providers, is_old
from trunk_transforms.schema.arguments import require_columns


class Coverage(NamedTuple):
    """The number of trunks, those with an unknown provider, and the facts on the others older than twelve months.

    `known_count` trunks have a history of a year; None stands for no history at all.
    """

    trunk_count: int
    unknown_count: int
    old_facts: list[str]
    known_count: int | None

    def describe(self) -> Iterator[str]:
        """Yield a sentence for each gap."""
        if self.unknown_count:
            have, them = agree(self.unknown_count, "has", "have"), agree(self.unknown_count, "it", "them")
            yield (
                f"{self.unknown_count} of {self.trunk_count} trunks {have} an unknown provider, "
                f"so the rules on providers are silent on {them}"
            )
        if self.old_facts:
            yield f"facts older than 12 months, to be checked: {enumerate_some(self.old_facts)}"
        if self.known_count is None:
            yield "no history was read, so the rules on recent changes and credential-age are silent"
        elif short_count := self.trunk_count - self.known_count:
            yield (
                f"{short_count} of {self.trunk_count} trunks have a history shorter than {CREDENTIAL_AGE.days} days, "
                "so the age of their credentials is unknown"
            )


def measure_coverage(counts: pd.DataFrame, providers: Providers, as_of: datetime) -> Coverage:
    """Return the coverage of an audit on a day, from the number of trunks, `trunk_count`, per `provider`.

    A trunk without a SIP address has no provider, so its provider is not unknown. The history counts as complete.
    """
    require_columns(counts, ("provider", "trunk_count"), "counts")
    used = [providers.by_name[name] for name in counts["provider"].dropna() if name in providers.by_name]
    dates = {fact: day for provider in used for fact, day in provider.dates.items()}
    unknown = counts.loc[counts["provider"] == UNKNOWN_PROVIDER, "trunk_count"]
    old_facts = [f"{fact} of {day}" for fact, day in dates.items() if is_old(day, as_of)]
    trunk_count = int(counts["trunk_count"].sum())
    return Coverage(trunk_count, int(unknown.sum()), old_facts, trunk_count)
