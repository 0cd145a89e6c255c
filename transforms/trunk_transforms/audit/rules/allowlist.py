"""Rules on `allowed_inbound_ips`: the addresses that may send inbound calls.

A trunk that authorizes calls by password ignores its allowlist, so the only finding on such a list is that it exists.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from trunk_transforms.audit.rules import provider as provider_rules
from trunk_transforms.audit.rules.context import (
    AuditContext,
    Entries,
    Findings,
    Verdict,
    as_findings,
    ordinary_networks,
)
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, LIVEKIT, PROVIDER_CATALOG, SPECIAL_ADDRESSES, rule
from trunk_transforms.audit.rules.wording import enumerate_first, enumerate_networks, enumerate_some, quote
from trunk_transforms.enrich.addresses import (
    HOST_NAME,
    Entry,
    Network,
    NetworkSet,
    covers,
    is_ordinary,
    measure_share,
    show_network,
)
from trunk_transforms.enrich.providers import Provider

_LARGEST_SHARE = 0.5
_FEWEST_COMPARED = 4


@rule(
    "allowlist-empty",
    severity="critical",
    question="Which trunks authorize calls by allowlist, but have an empty one?",
    why="LiveKit, which the platform runs on, admits every source to a trunk without allowed addresses (inferred), so "
    "anyone can place calls through it. The API requires at least one address, so an empty list is a defect.",
    fix='add the addresses that send the calls to allowed_inbound_ips, or set inbound_authorization_type to "auth"',
    source=f"{API_DOCUMENTATION}; {LIVEKIT}",
)
def check_empty(context: AuditContext) -> Findings:
    """Find trunks of type `ip` without any entry."""
    return context.decide(
        ["allowlist"],
        lambda entries: None if entries else Verdict("authorized by IP address, but the allowlist is empty"),
        _is_by_ip(context) & ~context.is_unreadable("allowed_inbound_ips"),
    )


@rule(
    "allowlist-invalid",
    severity="critical",
    question="Which allowlists have entries that are neither an IP address nor a network?",
    why="LiveKit, which the platform runs on, ignores entries with spaces, commas, ( ) + * ; or ://, and admits every "
    "source if none is left. Any other such entry matches no call, except a host name: a caller can claim it in the "
    "From header (inferred).",
    fix="replace or remove the entry",
    source=f"{API_DOCUMENTATION}; {LIVEKIT}",
)
def check_invalid(context: AuditContext) -> Findings:
    """Find invalid entries of trunks of type `ip`: critical if all are ignored, so that the trunk is open, else high.

    The fix names the addresses that the entries probably mean.
    """

    def decide(entries: Entries) -> Verdict | None:
        faults: dict[str, dict[Entry, None]] = {}
        for entry in entries:
            if entry.fault:
                faults.setdefault(_describe_effect(entry), {})[entry] = None
        if not faults:
            return None
        meant = [n for found in faults.values() for entry in found for n in entry.networks if is_ordinary(n)]
        seen = "; ".join(
            f"{enumerate_some([f'{quote(entry.text)} {entry.fault}' for entry in found], 3)}: {effect}"
            for effect, found in faults.items()
        )
        is_open = all(entry.is_ignored for entry in entries)
        return Verdict(
            f"{seen}; no other entry is left, so every source is admitted (inferred)" if is_open else seen,
            f"write {enumerate_some([show_network(network) for network in meant])} instead" if meant else None,
            None if is_open else "high",
        )

    return context.decide(["allowlist"], decide, _is_by_ip(context) & ~context.trunks["is_allowlist_ordinary"])


def _describe_effect(entry: Entry) -> str:
    if entry.is_ignored:
        return "ignored"
    return "a caller can claim this name" if entry.fault == HOST_NAME else "matches no call"


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

    def decide(entries: Entries) -> Verdict | None:
        wide, share = _measure_wide(entries)
        if share <= _LARGEST_SHARE:
            return None
        extent = "every address on" if share == 1 else f"{int(share * 100)}% of"
        if len(wide) == 1:
            return Verdict(f"{next(iter(wide))} allows {extent} the internet")
        fix = "remove these networks and list the addresses that send the calls"
        return Verdict(f"{enumerate_some(list(wide), 3)} allow {extent} the internet", fix)

    return context.decide(["allowlist"], decide, _has_odd_entries(context))


@rule(
    "allowlist-wide",
    severity="high",
    question="Which allowlists have networks wider than a /24 (IPv4) or a /64 (IPv6)?",
    why="A provider has few gateways. A wide network also admits strangers who rent a server in it.",
    fix="replace the network by the addresses that send the calls",
    source="the smallest networks that are routed on the internet",
)
def check_wide(context: AuditContext) -> Findings:
    """Find wide public networks that no provider is known to send calls from, if `allowlist-open` is silent."""
    is_provided = context.providers.is_provided

    def decide(provider: Provider | None, entries: Entries) -> Verdict | None:
        wide = [e for e in entries if e.is_wide and not (e.network and is_provided(e.network, provider))]
        is_open = _measure_wide(wide)[1] > _LARGEST_SHARE
        return None if is_open else _describe(wide, "allows far more addresses than calls come from")

    return context.decide(["provider", "allowlist"], decide, _has_odd_entries(context))


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
    return _find_entries(context, lambda entry: entry.kind in kinds, "cannot be seen from outside")


@rule(
    "allowlist-reserved",
    severity="medium",
    question="Which allowlists have addresses that are reserved, or meant for documentation?",
    why="No host on the internet has such an address; it was probably copied from an example.",
    fix="remove the entry; if the address that the calls come from is missing, add it",
    source=SPECIAL_ADDRESSES,
)
def check_reserved(context: AuditContext) -> Findings:
    """Find reserved and documentation addresses."""
    kinds = ("documentation", "reserved")
    return _find_entries(context, lambda entry: entry.kind in kinds, "is not used on the internet")


@rule(
    "allowlist-duplicate",
    severity="low",
    question="Which allowlists have an entry twice?",
    why="Nothing breaks, but after one of the two is removed, the address is still allowed.",
    fix="remove all but one",
    source="comparison of the entries",
)
def check_duplicate(context: AuditContext) -> Findings:
    """Find entries for the same network, also in different spellings."""

    def decide(entries: Entries) -> Verdict | None:
        counts = Counter(entry.network for entry in entries if entry.network and not entry.fault)
        twice = [f"{show_network(network)} is listed {count} times" for network, count in counts.items() if count > 1]
        return Verdict(enumerate_some(twice, 3)) if twice else None

    return context.decide(["allowlist"], decide, context.trunks["is_allowlist_used"])


@rule(
    "allowlist-unused",
    severity="medium",
    question="Which trunks have an allowlist although they authorize calls by password?",
    why="The list has no effect, but the trunk appears protected. The API clears such lists, so it is a defect.",
    fix='set inbound_authorization_type to "ip" if the list is right, else clear it',
    source=API_DOCUMENTATION,
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
        shown = enumerate_networks(network for network in networks if providers.platform_addresses.contains(network))
        return context.date(Verdict(f"{shown} belongs to the platform"), providers.platform_as_of) if shown else None

    return context.decide(["allowlist"], decide, context.trunks["is_allowlist_used"])


@rule(
    "allowlist-outlier",
    severity="medium",
    question="Which allowlist alone has, or alone lacks, an address among the account's trunks at a provider?",
    why="An address of one trunk alone may be left over, or a stranger's. Calls from a missing one are refused.",
    fix="compare the list with those of the other trunks; remove what is left over, and add what is missing",
    source="comparison of four or more trunks; addresses in the provider catalog do not count",
)
def check_outlier(context: AuditContext) -> Findings:
    """Find lists that differ from the others at the provider, or at the host if the provider is unknown.

    An address that `provider-ips-other` reports is not reported again.
    """
    trunks = context.trunks
    is_listed = np.array([bool(entries) for entries in context.allowlists])[trunks["allowlist"]]
    members = trunks.loc[_is_by_ip(context) & is_listed, ["account", "provider", "host", "allowlist"]]
    members["place"] = members["provider"].where(members["provider"].isin(context.providers.by_name), members["host"])
    lists = members.groupby(["account", "place"])["allowlist"]  # without the trunks that have no place
    is_compared = (lists.transform("size") >= _FEWEST_COMPARED) & (lists.transform("nunique") > 1)
    groups = defaultdict(list)
    for member in members.loc[is_compared].itertuples():
        groups[member.account, member.place].append(member)
    reported = set(provider_rules.check_ips_other.check(context).index)
    remarks = [remark for group in groups.values() for remark in _compare(context, group, reported)]
    return as_findings(pd.Series(dict(remarks), dtype="str"))


def _compare(context: AuditContext, group: Sequence[Any], reported: Container[int]) -> Iterator[tuple[int, str]]:
    """Yield what is unusual about the allowlists of a group of trunks, each with the trunk's row."""
    provider = context.providers.by_name.get(group[0].provider)
    lists = [_list_own(context, provider, context.allowlists[member.allowlist]) for member in group]
    counts = Counter(network for networks in lists for network in networks)
    wider = NetworkSet(network for network in counts if network.num_addresses > 1)
    alone = {n for n, count in counts.items() if count == 1 and (n.num_addresses > 1 or not wider.overlaps(n))}
    # If many trunks have addresses of their own, the account is meant to be so.
    if 2 * sum(not alone.isdisjoint(networks) for networks in lists) >= len(group):
        alone = set()
    common = [network for network, count in counts.items() if count == len(group) - 1]
    for member, networks in zip(group, lists, strict=True):
        allowed = [network for entry in context.allowlists[member.allowlist] for network in entry.networks]
        groups = provider.groups_for(member.host) if provider else []
        is_complete = any(all(covers(allowed, network) for network in group.required) for group in groups)
        # Calls of a host that the catalog has no addresses for may come from others than those of its siblings.
        is_expected = member.Index in reported or bool(provider and provider.groups and not groups)
        found = {
            "allowed": [network for network in networks if network in alone and not is_expected],
            "missing": [network for network in common if not is_complete and not covers(allowed, network)],
        }
        if any(found.values()):
            seen = (f"{enumerate_networks(some)} {what}" for what, some in found.items() if some)
            yield member.Index, f"{', '.join(seen)} on this trunk alone of {len(group)} at {quote(member.place)}"


def _list_own(context: AuditContext, provider: Provider | None, entries: Entries) -> list[Network]:
    """Return the ordinary networks that the catalog does not list, for the provider or for the platform."""
    known = [context.providers.platform_addresses.contains, *([provider.known_addresses.overlaps] if provider else [])]
    return [network for network in ordinary_networks(entries) if not any(is_known(network) for is_known in known)]


def list_networks(context: AuditContext) -> pd.Series:
    """Return the networks by which accounts are compared: ordinary ones in allowlists in use, not of a provider."""
    positions = context.trunks.loc[context.trunks["is_allowlist_used"], "allowlist"]
    texts = {p: [str(network) for network in _comparable(context, context.allowlists[p])] for p in positions.unique()}
    networks: pd.Series = positions.map(texts).explode().dropna().astype("str")
    return networks


@rule(
    "allowlist-shared",
    severity="info",
    question="Which addresses may send calls to trunks of different accounts?",
    why="An address left over from another customer is a way in; the address of a shared PBX is fine.",
    fix="make sure that the accounts share a PBX or carrier at that address",
    source="comparison of the accounts; addresses of known providers do not count",
    keys=list_networks,
)
def check_shared(context: AuditContext) -> Findings:
    """Find ordinary addresses in allowlists in use of several accounts."""
    is_compared = context.trunks["is_allowlist_used"] & (context.trunks["account"].nunique() > 1)
    used = context.trunks.loc[is_compared, ["account", "allowlist"]].drop_duplicates()
    accounts: dict[Network, dict[str, None]] = {}
    for account, position in used.sort_values("account").itertuples(index=False):
        for network in _comparable(context, context.allowlists[position]):
            accounts.setdefault(network, {})[account] = None
    accounts = {network: names for network, names in accounts.items() if len(names) > 1}

    def decide(account: str, entries: Entries) -> Verdict | None:
        shared = [network for network in ordinary_networks(entries) if network in accounts]
        shown = [f"{show_network(network)} also in account {others(account, network)}" for network in shared]
        return Verdict(enumerate_some(shown, 3)) if shown else None

    def others(account: str, network: Network) -> str:
        names = accounts[network]
        return enumerate_first((quote(name) for name in names if name != account), len(names) - 1, 3)

    return context.decide(["account", "allowlist"], decide, is_compared)


def _comparable(context: AuditContext, entries: Entries) -> list[Network]:
    provided = context.providers.known_addresses
    return [network for network in ordinary_networks(entries) if not provided.overlaps(network)]


def _find_entries(context: AuditContext, matches: Callable[[Entry], bool], remark: str) -> Findings:
    """Return one finding per trunk with matching entries in use: each entry once, then the remark."""

    def decide(entries: Entries) -> Verdict | None:
        return _describe(filter(matches, entries), remark)

    return context.decide(["allowlist"], decide, _has_odd_entries(context))


def _describe(entries: Iterable[Entry], remark: str) -> Verdict | None:
    found = dict.fromkeys(map(_show, entries))
    return Verdict(f"{enumerate_some(list(found), 3)} {remark}") if found else None


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
