"""Rules on values from a fixed set."""

from __future__ import annotations

from trunk_transforms.audit.rules.context import AuditContext, Findings, Verdict
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, rule
from trunk_transforms.audit.rules.wording import enumerate_some, quote
from trunk_transforms.enrich.countries import COUNTRY_NAMES
from trunk_transforms.schema.tables import AUTHORIZATION_TYPES, CALLING_FORMATS


@rule(
    "format-national-countries",
    severity="medium",
    question="Which hosts get national numbers from trunks of several countries?",
    why="0741926265 is another number in each country: the host cannot tell which is meant.",
    fix='set sip_calling_format to "+e164" on these trunks, and configure the host for it',
    source="inferred from the account's trunks at the same host",
)
def check_national_countries(context: AuditContext) -> Findings:
    """Find trunks with national format at a host where the account has such trunks in several countries."""
    trunks = context.trunks
    is_national = (trunks["sip_calling_format"] == "national") & trunks["host"].notna() & trunks["country"].notna()
    national = trunks.loc[is_national, ["account", "host", "country"]].drop_duplicates()
    countries = national.groupby(["account", "host"])["country"].agg(sorted).to_dict()

    def decide(account: str, host: str) -> Verdict | None:
        found = countries[account, host]
        names = enumerate_some([COUNTRY_NAMES[country] for country in found], 4)
        return Verdict(f"{quote(host)} gets national numbers of {names}") if len(found) > 1 else None

    return context.decide(["account", "host"], decide, is_national)


@rule(
    "value-unknown",
    severity="medium",
    question="Which trunks have an undocumented calling format or authorization type, or no outbound proxy setting?",
    why="The API has new values, or the record is broken: reports and rules may miss the trunk.",
    fix="check the trunk in the platform; if the value is new, update sip-trunks",
    source=API_DOCUMENTATION,
)
def check_unknown(context: AuditContext) -> Findings:
    """Find values that are missing or not documented."""

    def decide(calling_format: str | None, authorization: str | None, proxy: bool | None) -> Verdict | None:
        seen = [
            f"{name} is {quote(value) if value else 'missing'}, not {' or '.join(allowed)}"
            for name, value, allowed in (
                ("sip_calling_format", calling_format, CALLING_FORMATS),
                ("inbound_authorization_type", authorization, AUTHORIZATION_TYPES),
            )
            if value not in allowed
        ]
        seen += ["outbound_proxy is missing"] if proxy is None else []
        return Verdict("; ".join(seen)) if seen else None

    return context.decide(["sip_calling_format", "inbound_authorization_type", "outbound_proxy"], decide)
