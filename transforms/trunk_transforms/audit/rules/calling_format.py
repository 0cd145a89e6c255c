"""Rules on `sip_calling_format` that compare trunks at the same host."""

from __future__ import annotations

from collections import Counter, defaultdict

import pandas as pd

from trunk_transforms.audit.rules.context import NOTHING, AuditContext, Findings, Verdict, combine
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import enumerate_some, quote
from trunk_transforms.enrich.countries import COUNTRY_NAMES
from trunk_transforms.enrich.providers import Provider
from trunk_transforms.schema.tables import CALLING_FORMATS

_FEWEST_TRUNKS = 4
_USUAL_SHARE = 0.75
_FEWEST_COUNTRIES = 2


@rule(
    "format-outlier",
    severity="medium",
    question="Which trunks send numbers in another format than nearly all other trunks at their host?",
    why="A server expects one format. It rejects outbound calls in another one, or connects them to another number.",
    fix="set sip_calling_format to the format of the other trunks, unless this one is meant to differ",
    source="comparison of the account's trunks: at least 4 at the host, of which 75 % have one format",
)
def check_outlier(context: AuditContext) -> Findings:
    """Find the formats of the few.

    `provider-calling-format` decides where the catalog has the provider's format, `format-national-countries` where the
    usual one is national.
    """
    columns = ["account", "host", "sip_calling_format"]
    is_format = context.trunks["sip_calling_format"].isin(CALLING_FORMATS) & context.trunks["host"].notna()
    accounts, hosts, own = (context.trunks[name].loc[is_format] for name in columns)
    if combine(accounts, hosts).nunique() == combine(accounts, hosts, own).nunique():
        return NOTHING  # one format at each host
    countries = _list_national_countries(context)
    formats: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    counts = context.trunks.loc[is_format, columns].value_counts().reset_index()
    for account, host, calling_format, count in counts.itertuples(index=False):
        formats[account, host][calling_format] = count

    def decide(account: str, host: str, calling_format: str, provider: Provider | None) -> Verdict | None:
        (usual, count), *_ = formats[account, host].most_common(1)
        total = formats[account, host].total()
        if total < _FEWEST_TRUNKS or count < total * _USUAL_SHARE or calling_format == usual:
            return None
        is_ambiguous = usual == "national" and len(countries.get((account, host), [])) >= _FEWEST_COUNTRIES
        if is_ambiguous or (provider and provider.calling_format):
            return None
        others = f"{count} of {total} trunks at {quote(host)}"
        seen = f'sip_calling_format is "{calling_format}", but {others} have "{usual}"'
        fix = f'set sip_calling_format to "{usual}", unless this trunk is meant to differ'
        return Verdict(seen, fix, cause=f'"{calling_format}" in place of "{usual}" at {quote(host)}')

    return context.decide([*columns, "provider"], decide, is_format)


@rule(
    "format-national-countries",
    severity="medium",
    question="Which hosts receive national numbers from trunks of several countries?",
    why="0741926265 is a different number in each country, and the host cannot tell which one is meant.",
    fix='set sip_calling_format to "+e164" on these trunks, and configure the host for it',
    source="inferred from the account's trunks at the same host",
    yields_to=("provider-calling-format", "format-outlier"),
)
def check_national_countries(context: AuditContext) -> Findings:
    """Find trunks with national format at a host where the account has such trunks in several countries."""
    countries = _list_national_countries(context)
    if all(len(found) < _FEWEST_COUNTRIES for found in countries.values()):
        return NOTHING

    def decide(account: str, host: str) -> Verdict | None:
        found = countries[account, host]
        if len(found) < _FEWEST_COUNTRIES:
            return None
        names = enumerate_some([COUNTRY_NAMES[country] for country in found], 4)
        return Verdict(f"{quote(host)} gets national numbers of {names}", cause=f"national numbers at {quote(host)}")

    return context.decide(["account", "host"], decide, _is_national(context.trunks))


def _is_national(trunks: pd.DataFrame) -> pd.Series:
    return (trunks["sip_calling_format"] == "national") & trunks["host"].notna() & trunks["country"].notna()


def _list_national_countries(context: AuditContext) -> dict[tuple[str, str], list[str]]:
    """Return the countries of the trunks with national format, by account and host."""
    trunks = context.trunks
    national = trunks.loc[_is_national(trunks), ["account", "host", "country"]].drop_duplicates()
    countries: dict[tuple[str, str], list[str]] = defaultdict(list)
    for account, host, country in national.sort_values("country").itertuples(index=False):
        countries[account, host].append(country)
    return countries
