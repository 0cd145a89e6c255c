"""Rules on `country_code`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms.audit.rules.context import Verdict
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import quote
from trunk_transforms.enrich.countries import COUNTRY_NAMES, canonical_country

if TYPE_CHECKING:
    import pandas as pd

    from trunk_transforms.audit.rules.context import AuditContext


@rule(
    "country-unknown",
    severity="medium",
    question="Which trunks have a country code that ISO 3166-1 does not have?",
    why="The platform reads national numbers by it; whoever counts by country counts the trunk apart.",
    fix="set country_code to two capital letters of ISO 3166-1",
    source="ISO 3166-1 (its UK is GB)",
)
def check_unknown(context: AuditContext) -> pd.DataFrame:
    """Find codes that are missing, unknown, in lower case, or UK."""

    def decide(code: str | None) -> Verdict | None:
        if code is None:
            return Verdict("country_code is missing or blank")
        country = canonical_country(code)
        if country is None:
            return Verdict(f"country_code is {quote(code)}, which is no country's")
        if code == country:
            return None
        faults = [
            *(["not in capital letters alone"] if code != code.strip().upper() else []),
            *(["an alias"] if code.strip().upper() != country else []),
        ]
        fault = " and ".join(faults)
        return Verdict(
            f"country_code is {quote(code)}, {fault}: {COUNTRY_NAMES[country]} is {country}",
            f"set country_code to {country}",
        )

    return context.decide(["country_code"], decide)


RULES = (check_unknown,)
