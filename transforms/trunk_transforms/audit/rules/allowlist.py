"""Rules on `allowed_inbound_ips`: the addresses that may send inbound calls.

A trunk that authorizes calls by password ignores its allowlist, so the only finding on such a list is that it exists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pandas as pd

from trunk_transforms.audit.rules.context import (
    AuditContext,
    Findings,
    Verdict,
    allowed_networks,
    find_closest,
    ordinary_networks,
)
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, LIVEKIT, PROVIDER_CATALOG, SPECIAL_ADDRESSES, rule
from trunk_transforms.audit.rules.wording import (
    agree,
    enumerate_groups,
    enumerate_networks,
    enumerate_some,
    list_addresses,
    name_place,
    quote,
)
from trunk_transforms.enrich.addresses import (
    Entry,
    Network,
    is_ordinary,
    measure_share,
    show_network,
)
from trunk_transforms.enrich.allowlists import Entries
from trunk_transforms.enrich.providers import Provider

LARGEST_SHARE = 0.5
"""The share of the internet from which a list counts as open."""
_MAPPED = "is an IPv4 address in IPv6 notation"
_FEWEST_COMPARED = 4


@rule(
    "allowlist-empty",
    severity="critical",
    question="Which trunks authorize calls by allowlist but have an empty one?",
    why="The platform runs on LiveKit, which accepts calls from every source if a trunk lists no address (inferred). "
    "Anyone can place calls through the trunk. The API requires at least one address.",
    fix='add the addresses that send the calls to allowed_inbound_ips, or set inbound_authorization_type to "auth"',
    source=f"{API_DOCUMENTATION}; {LIVEKIT}",
)
def check_empty(context: AuditContext) -> Findings:
    """Find trunks of type `ip` without any entry. The fix is a password only where the provider can send one."""

    def decide(provider: Provider | None, host: str | None, entries: Entries) -> Verdict | None:
        if entries:
            return None
        fix = None
        if provider and host and (provider.groups_for(host) or not provider.recommends_password):
            fix = f"add {list_addresses(provider, host)} to allowed_inbound_ips"
        seen = "authorized by IP address, but the allowlist is empty"
        return Verdict(seen, fix, cause=f"empty allowlists {name_place(host)}")

    is_empty = context.with_allowlist(~context.allowlists.is_plain) & ~context.is_unreadable("allowed_inbound_ips")
    return context.decide(["provider", "host", "allowlist"], decide, is_empty & _is_by_ip(context))


@rule(
    "allowlist-invalid",
    severity="critical",
    question="Which allowlists have entries that are neither an IP address nor a network?",
    why="LiveKit ignores entries with spaces, commas, ( ) + * ; or ://, and accepts every source if no other entry is "
    "left. Other invalid entries match no call. A caller can forge a host name (inferred).",
    fix="replace or remove the entry",
    source=f"{API_DOCUMENTATION}; {LIVEKIT}",
)
def check_invalid(context: AuditContext) -> Findings:
    """Find invalid entries of trunks of type `ip`: critical if all are ignored, so that the trunk is open, else high.

    The fix names the addresses that the entries probably mean, else those that the provider sends calls from.
    """

    def decide(provider: Provider | None, host: str | None, entries: Entries) -> Verdict | None:
        faults: dict[str, dict[Entry, None]] = {}
        plain = set(ordinary_networks(entries))
        for entry in entries:
            # One that stands beside the same network as IPv4 does no harm, and the other kinds have rules of their own.
            is_mapped = entry.is_mapped and entry.network not in plain and is_ordinary(entry.networks[0])
            if entry.fault or is_mapped:
                faults.setdefault(_describe_effect(entry), {})[entry] = None
        if not faults:
            return None
        readable = (entry for found in faults.values() for entry in found if all(map(is_ordinary, entry.networks)))
        meant = [network for entry in readable for network in entry.networks]
        seen = "; ".join(
            f"{enumerate_some([f'{quote(entry.text)} {entry.fault or _MAPPED}' for entry in found], 3)}: {effect}"
            for effect, found in faults.items()
        )
        is_open = all(entry.is_ignored for entry in entries)
        if is_open:
            seen = f"{seen}; no other entry is left, so every source is admitted (inferred)"
        return Verdict(
            seen,
            f"write {enumerate_networks(meant)} instead" if meant else _replace_entries(provider, host, entries),
            None if is_open else "high",
            f"{seen} {name_place(host)}",
        )

    is_odd = _is_by_ip(context) & ~context.trunks["is_allowlist_ordinary"]
    return context.decide(["provider", "host", "allowlist"], decide, is_odd)


def _describe_effect(entry: Entry) -> str:
    if entry.is_ignored:
        return "ignored"
    if entry.is_mapped:
        return "probably matches no call, because it is compared as IPv6 (inferred)"
    return "a caller can claim this name" if entry.claimed_name else "matches no call"


def _replace_entries(provider: Provider | None, host: str | None, entries: Entries) -> str | None:
    """Return the fix that names the provider's addresses; None if the list has them or the catalog does not."""
    groups = provider.groups_for(host) if provider and host else []
    group, missing = find_closest(groups, allowed_networks(entries))
    if not provider or not group or not missing:
        return None
    if len(missing) < len(group.required):
        return f"replace it with {enumerate_networks(missing)}, from which {provider.name} ({group.name}) sends calls"
    return f"replace it with the addresses that {provider.name} sends calls from: {enumerate_groups(groups)}"


@rule(
    "allowlist-open",
    severity="critical",
    question="Which allowlists allow more than half of the internet?",
    why="Anyone who finds the trunk can place calls through it.",
    fix="remove the entry and list the addresses that send the calls",
    source="all networks of the list together, for IPv4 and for IPv6",
)
def check_open(context: AuditContext) -> Findings:
    """Find lists such as 0.0.0.0/0, ::/0, or 0.0.0.0/1 together with 128.0.0.0/1."""

    def decide(host: str | None, entries: Entries) -> Verdict | None:
        wide, share = _measure_wide(entries)
        if share <= LARGEST_SHARE:
            return None
        extent = "every address on" if share == 1 else f"{int(share * 100)}% of"
        seen = f"{enumerate_some(list(wide), 3)} {agree(len(wide), 'allows', 'allow')} {extent} the internet"
        fix = "remove these networks and list the addresses that send the calls" if len(wide) > 1 else None
        return Verdict(seen, fix, cause=f"{enumerate_some(list(wide), 3)} {name_place(host)}")

    return context.decide(["host", "allowlist"], decide, _has_odd_entries(context))


@rule(
    "allowlist-wide",
    severity="high",
    question="Which allowlists have networks wider than a /24 (IPv4) or a /64 (IPv6)?",
    why="A provider has few gateways. A wide network also admits strangers who rent a server in it.",
    fix="replace the network with the addresses that send the calls",
    source="the smallest networks that are routed on the internet",
    yields_to=("allowlist-open",),
)
def check_wide(context: AuditContext) -> Findings:
    """Find wide public networks, except those that a provider or the platform is known to send from."""
    providers = context.providers

    def is_published(network: Network, provider: Provider | None) -> bool:
        return providers.is_provided(network, provider) or providers.platform_addresses.contains(network)

    def decide(provider: Provider | None, host: str | None, entries: Entries) -> Verdict | None:
        wide = [e for e in entries if e.is_wide and not (e.network and is_published(e.network, provider))]
        verdict = _describe(wide, "allows", "allow", "far more addresses than calls come from")
        return verdict and verdict._replace(cause=f"{verdict.seen} {name_place(host)}")

    return context.decide(["provider", "host", "allowlist"], decide, _has_odd_entries(context))


@rule(
    "allowlist-private",
    severity="high",
    question="Which allowlists have private, loopback, link-local or CGNAT addresses?",
    why="The platform sees only public addresses, so the entry matches no call, and the public one may be missing.",
    fix="remove the entry; if the public address that the calls come from is missing, add it",
    source=SPECIAL_ADDRESSES,
)
def check_private(context: AuditContext) -> Findings:
    """Find addresses that cannot be the source of a call on the internet."""
    kinds = ("private", "loopback", "link-local", "CGNAT")
    return _find_entries(context, lambda entry: entry.kind in kinds, "cannot", "cannot", "be seen from outside")


@rule(
    "allowlist-reserved",
    severity="medium",
    question="Which allowlists have addresses that are reserved or meant for documentation?",
    why="No host on the internet has such an address; it was probably copied from an example.",
    fix="remove the entry; if the address that the calls come from is missing, add it",
    source=SPECIAL_ADDRESSES,
)
def check_reserved(context: AuditContext) -> Findings:
    """Find reserved and documentation addresses."""
    kinds = ("documentation", "reserved")
    return _find_entries(context, lambda entry: entry.kind in kinds, "is", "are", "not used on the internet")


@rule(
    "allowlist-duplicate",
    severity="low",
    question="Which allowlists list an entry twice?",
    why="It does no harm until someone removes one of the two: the address is still allowed.",
    fix="remove all but one",
    source="comparison of the entries",
)
def check_duplicate(context: AuditContext) -> Findings:
    """Find entries for the same network, also in different spellings."""

    def decide(entries: Entries) -> Verdict | None:
        counts = Counter(entry.network for entry in entries if entry.network and not entry.fault)
        twice = {show_network(network): count for network, count in counts.items() if count > 1}
        seen = [f"{network} is listed {count} times" for network, count in twice.items()]
        return Verdict(enumerate_some(seen, 3), cause=f"repeated: {enumerate_some(list(twice), 3)}") if twice else None

    return context.decide(["allowlist"], decide, context.with_allowlist(context.allowlists.may_repeat))


@rule(
    "allowlist-unused",
    severity="medium",
    question="Which trunks have an allowlist although they authorize calls by password?",
    why="The list has no effect, but the trunk looks protected. The API clears such lists, so this one is a defect.",
    fix='set inbound_authorization_type to "ip" if the list is right; otherwise clear it',
    source=API_DOCUMENTATION,
    yields_to=("inbound-auth-unsupported", "exposure-password", "exposure-username-blank"),
)
def check_unused(context: AuditContext) -> Findings:
    """Find entries of trunks of type `auth`."""

    def decide(entries: Entries) -> Verdict | None:
        shown = enumerate_some([quote(entry.text) for entry in entries], 3)
        return Verdict(f"authorized by password, but the allowlist has {shown}") if entries else None

    return context.decide(["allowlist"], decide, ~context.trunks["is_allowlist_used"])


@rule(
    "allowlist-platform",
    severity="medium",
    question="Which allowlists have addresses of the platform itself?",
    why="They let the platform call itself. The provider calls from other addresses, which may be missing.",
    fix="remove the entry; if an address that the provider calls from is missing, add it",
    source=PROVIDER_CATALOG,
)
def check_platform(context: AuditContext) -> Findings:
    """Find addresses of the outbound proxy and of LiveKit, which the platform runs on."""
    providers = context.providers

    def decide(entries: Entries) -> Verdict | None:
        networks = dict.fromkeys(entry.network for entry in entries if entry.network and not entry.fault)
        own = [network for network in networks if providers.platform_addresses.contains(network)]
        seen = f"{enumerate_networks(own)} {agree(len(own), 'belongs', 'belong')} to the platform"
        return context.date(Verdict(seen), providers.platform_as_of) if own else None

    is_of_platform = context.allowlists.may_overlap(providers.platform_addresses)
    return context.decide(["allowlist"], decide, context.with_allowlist(is_of_platform))


def _find_entries(
    context: AuditContext, matches: Callable[[Entry], bool], singular: str, plural: str, remark: str
) -> Findings:
    """Return one finding per trunk with matching entries in use: each entry once, the verb, and the remark.

    The fix names the addresses that the provider sends calls from.
    """

    def decide(provider: Provider | None, host: str | None, entries: Entries) -> Verdict | None:
        verdict = _describe(filter(matches, entries), singular, plural, remark)
        return verdict and verdict._replace(fix=_replace_entries(provider, host, entries))

    return context.decide(["provider", "host", "allowlist"], decide, _has_odd_entries(context))


def _describe(entries: Iterable[Entry], singular: str, plural: str, remark: str) -> Verdict | None:
    found = dict.fromkeys(map(_show, entries))
    verb = agree(len(found), singular, plural)
    return Verdict(f"{enumerate_some(list(found), 3)} {verb} {remark}") if found else None


def _measure_wide(entries: Iterable[Entry]) -> tuple[dict[str, None], float]:
    """Return the wide networks as text, each once, and the share of the internet that they have together."""
    wide = dict.fromkeys(network for entry in entries if entry.is_wide for network in entry.networks)
    return dict.fromkeys(map(show_network, wide)), measure_share(wide)


def _is_by_ip(context: AuditContext) -> pd.Series:
    return context.trunks["inbound_authorization_type"] == "ip"


def _has_odd_entries(context: AuditContext) -> pd.Series:
    return context.trunks["is_allowlist_used"] & ~context.trunks["is_allowlist_ordinary"]


def _show(entry: Entry) -> str:
    network = show_network(entry.network) if entry.network else quote(entry.text)
    return network if entry.kind == "public" else f"{network} ({entry.kind})"
