"""Rules on `country_code`."""

from __future__ import annotations

from trunk_transforms.audit.rules.context import AuditContext, Findings, Verdict
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import name_place, quote
from trunk_transforms.enrich.countries import COUNTRY_NAMES, canonical_country


@rule(
    "country-unknown",
    severity="medium",
    question="Which trunks have a country code that is not in ISO 3166-1?",
    why="The platform uses the code to read national numbers, and programs that do not know it miss the trunk.",
    fix="set country_code to a code of ISO 3166-1, two capital letters",
    source="ISO 3166-1 (its code for the UK is GB)",
)
def check_unknown(context: AuditContext) -> Findings:
    """Find codes that are missing, unknown, in lower case, or UK."""

    def decide(code: str | None, host: str | None) -> Verdict | None:
        if code is None:
            return Verdict("country_code is missing or blank", cause=f"missing countries {name_place(host)}")
        country = canonical_country(code)
        if country is None:
            return Verdict(f"country_code is {quote(code)}, which is not a country code")
        if code == country:
            return None
        spelled = code.strip().upper()
        faults = ("not in capital letters alone", code != spelled), ("an alias", spelled != country)
        seen = " and ".join(fault for fault, is_found in faults if is_found)
        seen = f"country_code is {quote(code)}, {seen}: {COUNTRY_NAMES[country]} is {country}"
        return Verdict(seen, f"set country_code to {country}")

    return context.decide(["country_code", "host"], decide, ~context.is_unreadable("country_code"))
