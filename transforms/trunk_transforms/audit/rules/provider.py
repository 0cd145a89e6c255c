"""Rules on what a provider needs, by the dated facts of providers.toml.

A provider is known by its host, so that what is no host has no finding here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from trunk_transforms.audit.rules.context import Verdict
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import enumerate_some, quote
from trunk_transforms.enrich.addresses import covers, show_network
from trunk_transforms.schema.tables import CALLING_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from trunk_transforms.audit.rules.context import AuditContext
    from trunk_transforms.enrich.addresses import Entry, Network
    from trunk_transforms.enrich.providers import AddressGroup

    Entries = tuple[Entry, ...]

_FACTS = "the provider catalog (providers.toml)"


@rule(
    "provider-ips-missing",
    severity="high",
    question="Which allowlists lack addresses that the provider sends calls from?",
    why="Calls from these addresses are refused: some calls, or all, do not come in.",
    fix="add the provider's addresses to allowed_inbound_ips",
    source=_FACTS,
)
def check_ips_missing(context: AuditContext) -> pd.DataFrame:
    """Find allowlists that are complete for no group; medium where only other regions' addresses may be there."""
    find_groups = _cache_groups(context)

    @cache
    def name_groups(name: str, host: str) -> str:
        return " or ".join(f"{_show(group.addresses)} ({group.name})" for group in find_groups(name, host))

    def decide(name: str, host: str, entries: Entries) -> Verdict | None:
        provider, groups = context.providers.by_name[name], find_groups(name, host)
        # What is meant by an invalid entry is not missing, and that it is invalid is said already.
        allowed = {entry.network for entry in entries if entry.network}
        missing = [_find_missing(group, allowed) for group in groups]
        if not groups or not entries or not all(missing):
            return None
        group, lacking = min(zip(groups, missing, strict=True), key=lambda pair: len(pair[1]) - len(pair[0].addresses))
        if len(lacking) < len(group.addresses):
            seen = f"{len(lacking)} of {len(group.addresses)} addresses that {name} ({group.name}) sends calls from are"
            return Verdict(f"{seen} missing{context.age(provider)}", f"add {_show(lacking)}")
        alternatives = name_groups(name, host)
        seen = f"no address that {name} sends calls from is there"
        if provider.regions_complete:
            return Verdict(f"{seen}{context.age(provider)}", f"add {alternatives}")
        seen = f"{seen}; those of other regions differ and are not known here"
        return Verdict(
            f"{seen}{context.age(provider)}", f"add {alternatives}, or make sure that these are your region's", "medium"
        )

    return context.decide(["provider", "host", "allowlist"], decide, _is_known(context) & _is_by_ip(context))


@rule(
    "provider-ips-other",
    severity="medium",
    question="Which allowlists have addresses beside those that the provider sends calls from?",
    why="Somebody else can place calls through the trunk.",
    fix="remove them, unless you know who sends calls from there",
    source=_FACTS,
)
def check_ips_other(context: AuditContext) -> pd.DataFrame:
    """Find ordinary addresses that are not the provider's, where all of its are known and one of them is there."""
    find_groups = _cache_groups(context)

    def decide(name: str, host: str, entries: Entries) -> Verdict | None:
        provider = context.providers.by_name[name]
        if not provider.regions_complete or not find_groups(name, host):
            return None
        is_known = provider.known_addresses.overlaps
        # With none of the provider's there, the others are what is there instead: one finding is enough.
        if not any(entry.network and is_known(entry.network) for entry in entries):
            return None
        networks = [entry.network for entry in entries if entry.is_ordinary and entry.network]
        others = dict.fromkeys(network for network in networks if not is_known(network))
        if not others:
            return None
        shown = _show(list(others))
        return Verdict(
            f"{shown} not known as {name}'s{context.age(provider)}",
            f"remove {shown}, unless you know who sends calls from there",
        )

    return context.decide(["provider", "host", "allowlist"], decide, _is_known(context) & _is_by_ip(context))


@rule(
    "provider-calling-format",
    severity="high",
    question="Which trunks write numbers in another format than their provider expects?",
    why="The provider rejects outbound calls, or puts them through to another number.",
    fix="set sip_calling_format to what the provider expects",
    source=_FACTS,
)
def check_calling_format(context: AuditContext) -> pd.DataFrame:
    """Find known calling formats that are not the provider's; unknown ones are found elsewhere."""

    def decide(name: str, calling_format: str) -> Verdict | None:
        provider = context.providers.by_name[name]
        expected = provider.calling_format
        if expected is None or calling_format == expected:
            return None
        seen = f'sip_calling_format is "{calling_format}", {name} expects "{expected}"{context.age(provider)}'
        return Verdict(seen, f'set sip_calling_format to "{expected}"')

    is_format = context.trunks["sip_calling_format"].isin(CALLING_FORMATS)
    return context.decide(["provider", "sip_calling_format"], decide, _is_known(context) & is_format)


@rule(
    "provider-host",
    severity="high",
    question="Which trunks use another host of their provider than the one that takes outbound calls?",
    why="Outbound calls fail.",
    fix="set sip_address to the host that the provider names",
    source=_FACTS,
)
def check_host(context: AuditContext) -> pd.DataFrame:
    """Find hosts of a provider that has exactly one."""

    def decide(name: str, host: str) -> Verdict | None:
        provider = context.providers.by_name[name]
        if provider.exact_host is None or host == provider.exact_host:
            return None
        reason = f": {provider.exact_host_reason}" if provider.exact_host_reason else ""
        seen = f"sip_address is {quote(host)}, {name} takes calls at {provider.exact_host}{reason}"
        return Verdict(f"{seen}{context.age(provider)}", f'set sip_address to "{provider.exact_host}"')

    return context.decide(["provider", "host"], decide, _is_known(context))


@rule(
    "provider-outbound-proxy",
    severity="high",
    question="Which trunks leave the outbound proxy off although their provider needs it?",
    why="The provider accepts calls from registered addresses only: without the proxy they come from changing ones.",
    fix="set outbound_proxy to true (this re-creates the outbound leg: a short outage)",
    source=_FACTS,
)
def check_outbound_proxy(context: AuditContext) -> pd.DataFrame:
    """Find trunks without the outbound proxy at a provider that needs it."""

    def decide(name: str) -> Verdict | None:
        provider = context.providers.by_name[name]
        needs = provider.needs_outbound_proxy
        return Verdict(f"outbound_proxy is off, {name} needs it{context.age(provider)}") if needs else None

    return context.decide(
        ["provider"],
        decide,
        _is_known(context) & (context.trunks["outbound_proxy"].eq(other=False)).fillna(value=False),
    )


@rule(
    "provider-unsupported",
    severity="high",
    question="Which trunks are at a provider that the platform does not support?",
    why="Calls fail, and the vendor will not help.",
    fix="move the number to a provider that is supported",
    source=_FACTS,
)
def check_unsupported(context: AuditContext) -> pd.DataFrame:
    """Find trunks at providers that are known not to work."""

    def decide(name: str) -> Verdict | None:
        provider = context.providers.by_name[name]
        return None if provider.is_supported else Verdict(f"{name} is not supported{context.age(provider)}")

    return context.decide(["provider"], decide, _is_known(context))


def _cache_groups(context: AuditContext) -> Callable[[str, str], list[AddressGroup]]:
    """Return what finds the groups of addresses by provider and host, each once."""
    return cache(lambda name, host: context.providers.by_name[name].groups_for(host))


def _find_missing(group: AddressGroup, allowed: set[Network]) -> list[Network]:
    """Return what the group must have and no allowed network contains."""
    lacking = group.required - allowed
    if not lacking:
        return []
    wide = [network for network in allowed if network.prefixlen < network.max_prefixlen]
    return [network for network in group.addresses if network in lacking and not covers(wide, network)]


def _is_known(context: AuditContext) -> pd.Series:
    return context.trunks["provider"].isin(context.providers.by_name)


def _is_by_ip(context: AuditContext) -> pd.Series:
    return context.trunks["inbound_authorization_type"] == "ip"


def _show(networks: Sequence[Network]) -> str:
    return enumerate_some([show_network(network) for network in networks])


RULES = (
    check_ips_missing,
    check_ips_other,
    check_calling_format,
    check_host,
    check_outbound_proxy,
    check_unsupported,
)
