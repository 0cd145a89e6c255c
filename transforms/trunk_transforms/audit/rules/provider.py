"""Rules on the requirements of providers, by the dated entries of the provider catalog.

The provider follows from the host, so a SIP address without a valid host has no finding here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import pandas as pd

from trunk_transforms.audit.rules.context import AuditContext, Entries, Findings, Verdict, ordinary_networks
from trunk_transforms.audit.rules.rule import PROVIDER_CATALOG, rule
from trunk_transforms.audit.rules.wording import enumerate_some, quote
from trunk_transforms.enrich.addresses import Network, covers, show_network
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

    @cache
    def name_groups(name: str, host: str) -> str:
        return " or ".join(f"{_show(group.addresses)} ({group.name})" for group in find_groups(name, host))

    def decide(provider: Provider, host: str, entries: Entries) -> Verdict | None:
        name, groups = provider.name, find_groups(provider.name, host)
        # The address that an invalid entry stands for is not missing: the entry has a finding of its own.
        allowed = {entry.network for entry in entries if entry.network}
        missing = [_find_missing(group, allowed) for group in groups]
        if not groups or not entries or not all(missing):
            return None
        group, lacking = min(zip(groups, missing, strict=True), key=lambda pair: len(pair[1]) - len(pair[0].addresses))
        age = context.age(provider)
        if len(lacking) < len(group.addresses):
            seen = f"{len(lacking)} of {len(group.addresses)} addresses that {name} ({group.name}) sends calls from are"
            return Verdict(f"{seen} missing{age}", f"add {_show(lacking)}")
        seen, fix = f"no address that {name} sends calls from is listed", f"add {name_groups(name, host)}"
        if provider.regions_complete:
            return Verdict(f"{seen}{age}", fix)
        seen = f"{seen}; other regions have other addresses, which are not known here"
        return Verdict(f"{seen}{age}", f"{fix}, or make sure that the listed ones are your region's", "medium")

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
    """Find ordinary addresses of others, if all addresses of the provider are known and the allowlist has one."""
    find_groups = _cache_groups(context)

    def decide(provider: Provider, host: str, entries: Entries) -> Verdict | None:
        is_known = provider.known_addresses.overlaps
        # Without an address of the provider, provider-ips-missing reports the allowlist; one finding is enough.
        has_known = any(entry.network and is_known(entry.network) for entry in entries)
        if not provider.regions_complete or not find_groups(provider.name, host) or not has_known:
            return None
        others = _show(network for network in ordinary_networks(entries) if not is_known(network))
        if not others:
            return None
        seen = f"{others} not known as {provider.name}'s{context.age(provider)}"
        return Verdict(seen, f"remove {others}, unless you know who sends calls from there")

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

    def decide(provider: Provider, calling_format: str) -> Verdict | None:
        name, expected = provider.name, provider.calling_format
        if expected is None or calling_format == expected:
            return None
        seen = f'sip_calling_format is "{calling_format}", {name} expects "{expected}"{context.age(provider)}'
        return Verdict(seen, f'set sip_calling_format to "{expected}"')

    is_format = context.trunks["sip_calling_format"].isin(CALLING_FORMATS)
    return context.decide(["provider", "sip_calling_format"], decide, context.trunks["is_provider_known"] & is_format)


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
        if provider.exact_host is None or host == provider.exact_host:
            return None
        reason = f": {provider.exact_host_reason}" if provider.exact_host_reason else ""
        seen = f"sip_address is {quote(host)}, {provider.name} takes calls at {provider.exact_host}{reason}"
        return Verdict(f"{seen}{context.age(provider)}", f'set sip_address to "{provider.exact_host}"')

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
        seen = f"outbound_proxy is off, {provider.name} needs it{context.age(provider)}"
        return Verdict(seen) if provider.needs_outbound_proxy else None

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
        return None if provider.is_supported else Verdict(f"{provider.name} is not supported{context.age(provider)}")

    return context.decide(["provider"], decide, context.trunks["is_provider_known"])


def _cache_groups(context: AuditContext) -> Callable[[str, str], list[AddressGroup]]:
    """Return a cached function that finds the address groups of a provider for a host."""
    return cache(lambda name, host: context.providers.by_name[name].groups_for(host))


def _find_missing(group: AddressGroup, allowed: set[Network]) -> list[Network]:
    """Return the required addresses of the group that no allowed network contains."""
    lacking = group.required - allowed
    if not lacking:
        return []
    wide = [network for network in allowed if network.prefixlen < network.max_prefixlen]
    return [network for network in group.addresses if network in lacking and not covers(wide, network)]


def _is_known_by_ip(context: AuditContext) -> pd.Series:
    return context.trunks["is_provider_known"] & (context.trunks["inbound_authorization_type"] == "ip")


def _show(networks: Iterable[Network]) -> str:
    return enumerate_some([show_network(network) for network in networks])
