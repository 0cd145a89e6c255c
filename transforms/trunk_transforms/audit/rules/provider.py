"""Rules on the requirements of providers, by the dated entries of the provider catalog.

The provider follows from the host, so a SIP address without a valid host has no finding here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

from trunk_transforms.audit.rules.context import AuditContext, Entries, Findings, Verdict, ordinary_networks
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, PROVIDER_CATALOG, rule
from trunk_transforms.audit.rules.wording import enumerate_groups, enumerate_networks, quote
from trunk_transforms.enrich.addresses import Network, covers
from trunk_transforms.enrich.providers import AddressGroup, Provider
from trunk_transforms.schema.tables import CALLING_FORMATS


@rule(
    "provider-ips-missing",
    severity="high",
    question="Which allowlists lack addresses that the provider sends calls from?",
    why="Calls from these addresses are refused, so that some or all calls do not come in.",
    fix="add the provider's addresses to allowed_inbound_ips",
    source=PROVIDER_CATALOG,
)
def check_ips_missing(context: AuditContext) -> Findings:
    """Find allowlists that are complete for no group; medium if they may have addresses of an unlisted region."""
    find_groups = _cache_groups(context)
    name_groups = cache(lambda name, host: enumerate_groups(find_groups(name, host)))

    def decide(provider: Provider, host: str, entries: Entries) -> Verdict | None:
        name, groups = provider.name, find_groups(provider.name, host)
        # The address that an invalid entry stands for is not missing: the entry has a finding of its own.
        allowed = {network for entry in entries for network in entry.networks}
        missing = [_find_missing(group, allowed) for group in groups]
        if not groups or not entries or not all(missing):
            return None
        group, lacking = min(zip(groups, missing, strict=True), key=lambda pair: len(pair[1]) - len(pair[0].required))
        if len(lacking) < len(group.required):
            source, fix = f"{name} ({group.name})", f"add {enumerate_networks(lacking)}"
            seen = f"{len(lacking)} of {len(group.required)} addresses that {source} sends calls from are missing"
            return context.date(Verdict(seen, fix, cause=f"{source}: {fix}"), group.as_of or provider.as_of)
        seen, fix = f"no address that {name} sends calls from is listed", f"add {name_groups(name, host)}"
        if provider.regions_complete:
            return context.date(Verdict(seen, fix), provider.addresses_as_of)
        seen = f"{seen}; other regions have other addresses, which are not known here"
        fix = f"{fix}, or make sure that the listed ones are your region's"
        return context.date(Verdict(seen, fix, "medium"), provider.addresses_as_of)

    return context.decide(["provider", "host", "allowlist"], decide, _is_known_by_ip(context))


@rule(
    "provider-ips-other",
    severity="medium",
    question="Which allowlists have other addresses than those that the provider sends calls from?",
    why="Someone else can place calls through the trunk.",
    fix="remove them, unless you know who sends calls from there",
    source=PROVIDER_CATALOG,
)
def check_ips_other(context: AuditContext) -> Findings:
    """Find ordinary addresses of others, if all addresses of the provider are known and the allowlist has one.

    The platform's own addresses have a finding of their own.
    """
    find_groups, is_platform = _cache_groups(context), context.providers.platform_addresses.contains

    def decide(provider: Provider, host: str, entries: Entries) -> Verdict | None:
        is_known = provider.known_addresses.overlaps
        # Without an address of the provider, provider-ips-missing reports the allowlist; one finding is enough.
        has_known = any(entry.network and is_known(entry.network) for entry in entries)
        if not provider.regions_complete or not find_groups(provider.name, host) or not has_known:
            return None
        others = enumerate_networks(n for n in ordinary_networks(entries) if not is_known(n) and not is_platform(n))
        if not others:
            return None
        fix = f"remove {others}, unless you know who sends calls from there"
        return context.date(Verdict(f"{others} not known as {provider.name}'s", fix), provider.addresses_as_of)

    return context.decide(["provider", "host", "allowlist"], decide, _is_known_by_ip(context))


@rule(
    "provider-calling-format",
    severity="high",
    question="Which trunks write numbers in another format than their provider expects?",
    why="The provider rejects outbound calls, or connects them to another number.",
    fix="set sip_calling_format to the format that the provider expects",
    source=PROVIDER_CATALOG,
)
def check_calling_format(context: AuditContext) -> Findings:
    """Find calling formats other than the provider's; `value-unknown` reports undocumented ones."""

    def decide(provider: Provider, host: str, calling_format: str) -> Verdict | None:
        formats = provider.formats_at(host)
        if not formats or calling_format in formats:
            return None
        expected = " or ".join(f'"{valid}"' for valid in formats)
        seen = f'sip_calling_format is "{calling_format}", {provider.name} expects {expected}'
        return context.date(Verdict(seen, f"set sip_calling_format to {expected}"), provider.as_of)

    is_format = context.trunks["sip_calling_format"].isin(CALLING_FORMATS)
    columns = ["provider", "host", "sip_calling_format"]
    return context.decide(columns, decide, context.trunks["is_provider_known"] & is_format)


@rule(
    "provider-host",
    severity="high",
    question="Which trunks use another host of their provider than the one that accepts outbound calls?",
    why="Outbound calls fail.",
    fix="set sip_address to the host that the provider names",
    source=PROVIDER_CATALOG,
)
def check_host(context: AuditContext) -> Findings:
    """Find other hosts of a provider that has exactly one for outbound calls."""

    def decide(provider: Provider, host: str) -> Verdict | None:
        if provider.exact_host is None or host == provider.exact_host or provider.host_group_of(host):
            return None
        reason = f": {provider.exact_host_reason}" if provider.exact_host_reason else ""
        cause = f"{provider.name} takes calls at {provider.exact_host}{reason}"
        fix = f'set sip_address to "{provider.exact_host}"'
        return context.date(Verdict(f"sip_address is {quote(host)}, {cause}", fix, cause=cause), provider.as_of)

    return context.decide(["provider", "host"], decide, context.trunks["is_provider_known"])


@rule(
    "provider-outbound-proxy",
    severity="high",
    question="Which trunks have the outbound proxy off although their provider needs it?",
    why="The provider accepts calls only from registered addresses; without the proxy, the address changes.",
    fix="set outbound_proxy to true (this re-creates the outbound leg: a short outage)",
    source=PROVIDER_CATALOG,
)
def check_outbound_proxy(context: AuditContext) -> Findings:
    """Find trunks without the outbound proxy at a provider that needs it."""

    def decide(provider: Provider) -> Verdict | None:
        verdict = Verdict(f"outbound_proxy is off, {provider.name} needs it")
        return context.date(verdict, provider.as_of) if provider.needs_outbound_proxy else None

    is_off = context.trunks["outbound_proxy"].eq(other=False).fillna(value=False)
    return context.decide(["provider"], decide, context.trunks["is_provider_known"] & is_off)


@rule(
    "provider-unsupported",
    severity="high",
    question="Which trunks use a provider that the platform does not support?",
    why="Calls fail, and the vendor does not help.",
    fix="move the number to a supported provider",
    source=PROVIDER_CATALOG,
)
def check_unsupported(context: AuditContext) -> Findings:
    """Find trunks at providers that are known not to work."""

    def decide(provider: Provider) -> Verdict | None:
        verdict = Verdict(f"{provider.name} is not supported")
        return None if provider.is_supported else context.date(verdict, provider.as_of)

    return context.decide(["provider"], decide, context.trunks["is_provider_known"])


@rule(
    "provider-registration",
    severity="high",
    question="Which trunks use a host that accepts only registered devices?",
    why="The platform never sends SIP REGISTER, so that no call works.",
    fix="ask the provider for a trunk without registration, or move the number to a supported provider",
    source=f"{PROVIDER_CATALOG}; {API_DOCUMENTATION}",
)
def check_registration(context: AuditContext) -> Findings:
    """Find hosts that are known to need registration."""

    def decide(provider: Provider, host: str) -> Verdict | None:
        group = provider.host_group_of(host)
        if not provider.requires_registration and not (group and group.requires_registration):
            return None
        verdict = Verdict(f"{provider.name} needs SIP REGISTER at {quote(host)}")
        return context.date(verdict, (group or provider).as_of)

    return context.decide(["provider", "host"], decide, context.trunks["is_provider_known"])


@rule(
    "proxy-unneeded",
    severity="low",
    question="Which trunks have the outbound proxy on although their provider does not need it?",
    why="All outbound calls depend on one more server, without a benefit if the provider checks the password.",
    fix="set outbound_proxy to false, unless the provider accepts calls only from known addresses",
    source=f"{PROVIDER_CATALOG}; inferred from the other settings",
)
def check_proxy_unneeded(context: AuditContext) -> Findings:
    """Find trunks with a username that have the proxy on; without one, the provider knows the platform by it."""

    def decide(provider: Provider) -> Verdict | None:
        verdict = Verdict(f"outbound_proxy is on, {provider.name} does not need it")
        return context.date(verdict, provider.as_of) if provider.needs_outbound_proxy is False else None

    trunks = context.trunks
    is_on = trunks["outbound_proxy"].fillna(value=False) & trunks["sip_username"].notna()
    return context.decide(["provider"], decide, trunks["is_provider_known"] & is_on)


def _cache_groups(context: AuditContext) -> Callable[[str, str], list[AddressGroup]]:
    """Return a cached function that finds the address groups of a provider for a host."""
    return cache(lambda name, host: context.providers.by_name[name].groups_for(host))


def _find_missing(group: AddressGroup, allowed: set[Network]) -> list[Network]:
    """Return the required addresses of the group that no allowed network contains."""
    if allowed.issuperset(group.required):
        return []
    wide = [network for network in allowed if network.prefixlen < network.max_prefixlen]
    return [network for network in group.required if network not in allowed and not covers(wide, network)]


def _is_known_by_ip(context: AuditContext) -> pd.Series:
    return context.trunks["is_provider_known"] & (context.trunks["inbound_authorization_type"] == "ip")
