"""Rules on the requirements of providers, by the dated entries of the provider catalog.

The provider follows from the host, so a SIP address without a valid host has no finding here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

from trunk_transforms.audit.rules.context import (
    AuditContext,
    Findings,
    Verdict,
    allowed_networks,
    find_closest,
    ordinary_networks,
)
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, PROVIDER_CATALOG, rule
from trunk_transforms.audit.rules.wording import agree, enumerate_groups, enumerate_networks, quote
from trunk_transforms.enrich.addresses import covers
from trunk_transforms.enrich.allowlists import Entries
from trunk_transforms.enrich.providers import AddressGroup, Provider
from trunk_transforms.schema.tables import CALLING_FORMATS


@rule(
    "provider-ips-missing",
    severity="high",
    question="Which allowlists lack addresses that the provider sends calls from?",
    why="Calls from these addresses are rejected, so some or all inbound calls fail.",
    fix="add the provider's addresses to allowed_inbound_ips",
    source=PROVIDER_CATALOG,
    yields_to=("allowlist-open", "allowlist-invalid", "allowlist-private"),
)
def check_ips_missing(context: AuditContext) -> Findings:
    """Find allowlists that are complete for no group; medium if they may have addresses of an unlisted region."""
    find_groups = _cache_groups(context)
    name_groups = cache(lambda name, host: enumerate_groups(find_groups(name, host)))

    def decide(provider: Provider, host: str, entries: Entries) -> Verdict | None:
        name, groups = provider.name, find_groups(provider.name, host)
        # The address that an invalid entry stands for is not missing: the entry has a finding of its own.
        allowed = allowed_networks(entries)
        group, lacking = find_closest(groups, allowed)
        if not group or not entries or not lacking:
            return None
        if len(lacking) < len(group.required):
            source, fix = f"{name} ({group.name})", f"add {enumerate_networks(lacking)}"
            seen = f"{len(lacking)} of {len(group.required)} addresses that {source} sends calls from"
            seen = f"{seen} {agree(len(lacking), 'is', 'are')} missing"
            return context.date(Verdict(seen, fix, cause=f"{source}: {fix}"), group.as_of or provider.as_of)
        seen, fix = f"no address that {name} sends calls from is listed", f"add {name_groups(name, host)}"
        if others := [network for network in allowed if provider.known_addresses.overlaps(network)]:
            some, verb = enumerate_networks(sorted(others, key=str)), agree(len(others), "is", "are")
            seen = (
                f"only {some} of {name}'s addresses {verb} listed, not a complete set of those that it sends calls from"
            )
        if provider.regions_complete:
            return context.date(Verdict(seen, fix), provider.addresses_as_of)
        seen = f"{seen}; other regions have other addresses, which are not known here"
        fix = f"{fix}, or make sure that the listed ones are your region's"
        return context.date(Verdict(seen, fix, "medium"), provider.addresses_as_of)

    return context.decide(["provider", "host", "listed_allowlist"], decide, _is_known_by_ip(context))


@rule(
    "provider-ips-other",
    severity="medium",
    question="Which allowlists have addresses that do not belong to the provider?",
    why="Someone else can place calls through the trunk.",
    fix="remove them, unless you know who sends calls from there",
    source=PROVIDER_CATALOG,
)
def check_ips_other(context: AuditContext) -> Findings:
    """Find ordinary addresses of others, if all addresses of the provider are known and the allowlist has one.

    A network that is wider than the provider's own has addresses of others. The platform's own addresses have a
    finding of their own.
    """
    find_groups, is_platform = _cache_groups(context), context.providers.platform_addresses.contains

    def decide(provider: Provider, host: str, entries: Entries) -> Verdict | None:
        known, name = provider.known_addresses, provider.name
        # Without an address of the provider, provider-ips-missing reports the allowlist; one finding is enough.
        has_known = any(entry.network and known.overlaps(entry.network) for entry in entries)
        is_complete = bool(provider.regions_complete and find_groups(name, host) and has_known)
        unknown = [network for network in ordinary_networks(entries) if not known.contains(network)]
        wide = [network for network in unknown if known.overlaps(network)]
        others = [n for n in unknown if is_complete and n not in wide and not is_platform(n)]
        seen, fixes = [], []
        if others:
            seen.append(f"{enumerate_networks(others)} not known as {name}'s")
            fixes.append(f"remove {enumerate_networks(others)}")
        if wide:
            seen.append(f"{enumerate_networks(wide)} {agree(len(wide), 'has', 'have')} more addresses than {name}'s")
            own = (n for group in provider.groups for n in group.known if covers(wide, n))
            fixes.append(f"write {enumerate_networks(own)} in place of {enumerate_networks(wide)}")
        if not seen:
            return None
        fix = f"{' and '.join(fixes)}, unless you know who sends calls from there"
        return context.date(Verdict(" and ".join(seen), fix), provider.addresses_as_of)

    is_listed = context.with_allowlist(context.allowlists.may_overlap(context.providers.known_addresses))
    return context.decide(["provider", "host", "allowlist"], decide, is_listed & _is_known_by_ip(context))


@rule(
    "provider-calling-format",
    severity="high",
    question="Which trunks send numbers in a format that their provider does not expect?",
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
        seen = f'sip_calling_format is "{calling_format}", but {provider.name} expects {expected}'
        return context.date(Verdict(seen, f"set sip_calling_format to {expected}"), provider.as_of)

    is_format = context.trunks["sip_calling_format"].isin(CALLING_FORMATS)
    columns = ["provider", "host", "sip_calling_format"]
    return context.decide(columns, decide, context.trunks["is_provider_known"] & is_format)


@rule(
    "provider-host",
    severity="high",
    question="Which trunks use a host of their provider that does not accept outbound calls?",
    why="Outbound calls fail.",
    fix="set sip_address to the host that the provider documents",
    source=PROVIDER_CATALOG,
)
def check_host(context: AuditContext) -> Findings:
    """Find web hosts, and other hosts of a provider that has exactly one for outbound calls."""

    def decide(provider: Provider, host: str) -> Verdict | None:
        if provider.takes_calls_at(host):
            return None
        exact_host = provider.exact_host
        fix = f'set sip_address to "{exact_host}"' if exact_host else None
        cause = f"{provider.name} takes {f'calls at {exact_host}' if exact_host else 'no calls there'}"
        if provider.is_web_host(host):
            cause = f"a web host: {cause}"
        elif provider.exact_host_reason:
            cause = f"{cause}: {provider.exact_host_reason}"
        return context.date(Verdict(f"sip_address is {quote(host)}; {cause}", fix, cause=cause), provider.as_of)

    return context.decide(["provider", "host"], decide, context.trunks["is_provider_known"])


@rule(
    "provider-outbound-proxy",
    severity="high",
    question="Which trunks have the outbound proxy off although their provider requires it?",
    why="The provider accepts calls only from registered addresses. Without the proxy, the address changes.",
    fix="set outbound_proxy to true (this re-creates the outbound leg: a short outage)",
    source=PROVIDER_CATALOG,
)
def check_outbound_proxy(context: AuditContext) -> Findings:
    """Find trunks without the outbound proxy at a provider that needs it."""

    def decide(provider: Provider) -> Verdict | None:
        verdict = Verdict(f"outbound_proxy is off, but {provider.name} needs it")
        return context.date(verdict, provider.as_of) if provider.needs_outbound_proxy else None

    is_off = context.trunks["outbound_proxy"].eq(other=False).fillna(value=False)
    return context.decide(["provider"], decide, context.trunks["is_provider_known"] & is_off)


@rule(
    "provider-unsupported",
    severity="high",
    question="Which trunks use a provider that the platform does not support?",
    why="Calls fail, and the vendor offers no support.",
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
    why="The platform never sends SIP REGISTER, so no call works.",
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
    question="Which trunks have the outbound proxy on although their provider does not require it?",
    why="Every outbound call depends on one more server, with no benefit if the provider checks the password.",
    fix="set outbound_proxy to false, unless the provider accepts calls only from known addresses",
    source=f"{PROVIDER_CATALOG}; inferred from the other settings",
)
def check_proxy_unneeded(context: AuditContext) -> Findings:
    """Find trunks with a username that have the proxy on; without one, the provider knows the platform by it."""

    def decide(provider: Provider) -> Verdict | None:
        verdict = Verdict(f"outbound_proxy is on, but {provider.name} does not need it")
        return context.date(verdict, provider.as_of) if provider.needs_outbound_proxy is False else None

    trunks = context.trunks
    is_on = trunks["outbound_proxy"].fillna(value=False) & trunks["sip_username"].notna()
    return context.decide(["provider"], decide, trunks["is_provider_known"] & is_on)


def _cache_groups(context: AuditContext) -> Callable[[str, str], list[AddressGroup]]:
    """Return a cached function that finds the address groups of a provider for a host."""
    return cache(lambda name, host: context.providers.by_name[name].groups_for(host))


def _is_known_by_ip(context: AuditContext) -> pd.Series:
    return context.trunks["is_provider_known"] & (context.trunks["inbound_authorization_type"] == "ip")
