"""Rules that compare allowlists: of an account's trunks at one place, and of several accounts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from trunk_transforms.audit.rules.allowlist import LARGEST_SHARE
from trunk_transforms.audit.rules.context import (
    NOTHING,
    AuditContext,
    Findings,
    Verdict,
    allowed_networks,
    as_findings,
    combine,
    find_missing,
    map_distinct,
    number_combinations,
    ordinary_networks,
)
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import enumerate_first, enumerate_networks, enumerate_some, quote
from trunk_transforms.enrich.addresses import (
    SPECIAL_ADDRESSES,
    Network,
    NetworkSet,
    covers,
    is_ordinary,
    measure_share,
    show_network,
)
from trunk_transforms.enrich.allowlists import Entries, Integers
from trunk_transforms.enrich.providers import Provider

_FEWEST_COMPARED = 4


@rule(
    "allowlist-outlier",
    severity="medium",
    question="Which allowlists have an address that no other at the provider has, or lack one that all others have?",
    why="An address on a single trunk may be left over or belong to a stranger. Calls from a missing address are "
    "rejected.",
    fix="compare the list with those of the other trunks; remove leftover addresses, and add missing ones",
    source="comparison of four or more trunks; addresses in the provider catalog do not count",
    yields_to=("provider-ips-missing", "provider-ips-other"),
)
def check_outlier(context: AuditContext) -> Findings:
    """Find lists that differ from the others at the provider, or at the host if the catalog lacks the addresses.

    Lists that are empty, open or unreadable have a finding of their own and are not compared.
    """
    members = _list_members(context)
    kinds = members.drop_duplicates("kind").assign(count=np.bincount(members["kind"]))
    kinds["size"] = np.bincount(kinds["group"], kinds["count"]).astype(int)[kinds["group"]]
    kinds = kinds.loc[kinds["size"] >= _FEWEST_COMPARED].set_index("kind")
    entries = _list_entries(context, kinds)
    is_odd = (entries["used"] == entries["size"] - 1) | (entries["first"] < entries["last"])
    may_repeat = context.allowlists.may_repeat[kinds["allowlist"]]
    odd_groups = {*entries.loc[is_odd, "group"], *kinds.loc[may_repeat, "group"]}
    groups: dict[int, list[Any]] = defaultdict(list)
    odd: Iterable[Any] = kinds.loc[kinds["group"].isin(odd_groups)].itertuples()
    for kind in odd:
        groups[kind.group].append(kind)
    plain = _compare_addresses(context, entries.loc[~entries["group"].isin(odd_groups)])
    texts = pd.Series(dict(chain(plain, *(_compare(context, group) for group in groups.values()))), dtype="str")
    if texts.empty:
        return NOTHING
    found = kinds.loc[texts.index]
    place = " at " + map_distinct(found["place"], quote)
    seen = texts + " on this trunk alone of " + found["size"].astype("str") + place
    hits = members["kind"].loc[members["kind"].isin(texts.index)]
    seen, cause = (text.loc[hits].set_axis(hits.index) for text in (seen, texts + place))
    return as_findings(seen, cause=cause)


def _list_members(context: AuditContext) -> pd.DataFrame:
    """Return the trunks whose allowlists are compared, with numbers for the `group` and, in it, the `kind` of list.

    A group is a `place` in an account: a provider of which the catalog has the addresses, or a host.
    """
    trunks, allowlists = context.trunks, context.allowlists
    is_listed = (trunks["inbound_authorization_type"] == "ip") & (trunks["allowlist"] >= 0)
    members = trunks.loc[is_listed, ["account", "provider", "host", "allowlist"]]
    positions, is_usual = members["allowlist"].to_numpy(), allowlists.is_plain & allowlists.is_ordinary
    unclear = [p for p in np.unique(positions[~is_usual[positions]]) if not _is_comparable(allowlists[p])]
    # Gateways of one region need not be those of another one.
    listed = [provider.name for provider in context.providers.providers if provider.has_required_addresses]
    members["place"] = members["provider"].where(members["provider"].isin(listed), members["host"])
    members = members.loc[~members["allowlist"].isin(unclear)].dropna(subset="place")
    members["group"] = combine(members["account"], members["place"])
    members["kind"] = combine(members["group"], members["host"], members["allowlist"])
    return members


def _list_entries(context: AuditContext, kinds: pd.DataFrame) -> pd.DataFrame:
    """Return the entries of plain lists: the `kind` of the list and its facts, the `first` and `last` address.

    `used` is the number of trunks in the group that have the entry.
    """
    places, firsts, lasts = context.allowlists.list_entries(kinds["allowlist"].to_numpy())
    entries = kinds.iloc[places].rename_axis("kind").reset_index().assign(first=firsts, last=lasts)
    numbers, _ = number_combinations([entries["group"].to_numpy(), firsts, lasts])
    return entries.assign(used=np.bincount(numbers, entries["count"])[numbers])


def _compare_addresses(context: AuditContext, entries: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Yield what `_compare` does, for groups of lists with addresses alone, none of which only one list lacks.

    Numbers decide, because an account can have as many addresses as trunks.
    """
    own = entries.loc[entries["used"] == 1]
    addresses, names = own["first"].to_numpy(), own["provider"].to_numpy()
    is_known = context.providers.platform_addresses.overlap(addresses, addresses)
    for name, provider in context.providers.by_name.items():
        is_known |= (names == name) & provider.known_addresses.overlap(addresses, addresses)
    is_special = SPECIAL_ADDRESSES.overlap(addresses, addresses) & ~is_known
    special, own = own.loc[is_special, "kind"], own.loc[~is_known]
    list_counts = own.groupby("group")["kind"].nunique()[own["group"]].to_numpy()
    # If many trunks have addresses of their own, the account is meant to be so.
    own = own.loc[(2 * list_counts < own["size"]) & ~own["kind"].isin(special)]
    numbers, firsts = number_combinations([pd.factorize(own[name])[0] for name in ("provider", "host")])
    places = zip(own["provider"].iloc[firsts], own["host"].iloc[firsts], strict=True)
    lacks = [_lacks_addresses(context.providers.by_name.get(name), host) for name, host in places]
    own = own.loc[~np.array(lacks, dtype=bool)[numbers]]
    allowed: dict[int, list[str]] = defaultdict(list)
    for kind, address in zip(own["kind"].tolist(), own["first"].tolist(), strict=True):
        allowed[kind].append(str(IPv4Address(address)))
    for kind, listed in allowed.items():
        yield kind, f"{enumerate_some(listed)} allowed"


def _is_comparable(entries: Entries) -> bool:
    """Return whether it is clear which public addresses a list is meant to allow: not if an entry is unreadable."""
    allowed = allowed_networks(entries)
    is_clear = all(entry.networks for entry in entries) and any(map(is_ordinary, allowed))
    return is_clear and measure_share(allowed) <= LARGEST_SHARE


def _compare(context: AuditContext, group: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Yield the kind of each unusual allowlist in a group, and what is unusual about it."""
    provider = context.providers.by_name.get(group[0].provider)
    allowlists = [context.allowlists[kind.allowlist] for kind in group]
    lists = [_list_own(context, provider, entries) for entries in allowlists]
    size = group[0].size
    counts: Counter[Network] = Counter()
    for kind, networks in zip(group, lists, strict=True):
        counts.update(dict.fromkeys(networks, kind.count))
    wider = NetworkSet(network for network in counts if network.num_addresses > 1)
    alone = {n for n, count in counts.items() if count == 1 and (n.num_addresses > 1 or not wider.overlaps(n))}
    if 2 * sum(not alone.isdisjoint(networks) for networks in lists) >= size:  # the account is meant to be so
        alone = set()
    common = [network for network, count in counts.items() if count == size - 1]
    for kind, entries, networks in zip(group, allowlists, lists, strict=True):
        allowed_by = allowed_networks(entries)
        allowed = [network for network in networks if network in alone]
        missing = [network for network in common if not covers(allowed_by, network)]
        # An entry with a finding of its own probably stands for the one that is missing.
        if not (allowed or missing) or not all(map(is_ordinary, allowed)):
            continue
        groups = provider.groups_for(kind.host) if provider else []
        if any(not find_missing(addresses, allowed_by) for addresses in groups):
            missing = []
        if _lacks_addresses(provider, kind.host):
            allowed = []
        seen = [f"{enumerate_networks(n)} {what}" for what, n in (("allowed", allowed), ("missing", missing)) if n]
        if seen:
            yield kind.Index, ", ".join(seen)


def _lacks_addresses(provider: Provider | None, host: str) -> bool:
    """Return whether the catalog has addresses of the provider but none for this host, which may have others."""
    return provider is not None and provider.has_required_addresses and not provider.groups_for(host)


def _list_own(context: AuditContext, provider: Provider | None, entries: Entries) -> list[Network]:
    """Return the networks of the entries that the catalog does not list, for the provider or for the platform."""
    known = [context.providers.platform_addresses.contains, *([provider.known_addresses.contains] if provider else [])]
    networks = dict.fromkeys(network for entry in entries for network in entry.networks)
    return [network for network in networks if not any(is_known(network) for is_known in known)]


def list_networks(context: AuditContext) -> pd.Series:
    """Return the networks by which accounts are compared: ordinary ones in allowlists in use, not of a provider."""
    positions = context.trunks.loc[context.trunks["is_allowlist_used"], "allowlist"]
    texts = {p: [str(network) for network in _comparable(context, context.allowlists[p])] for p in positions.unique()}
    networks: pd.Series = positions.map(texts).explode().dropna().astype("str")
    return networks


@rule(
    "allowlist-shared",
    severity="info",
    question="Which addresses may send calls to trunks of several accounts?",
    why="An address left over from another customer lets that customer place calls. A shared PBX is fine.",
    fix="make sure that the accounts share a PBX or carrier at that address",
    source="comparison of the accounts; addresses of known providers do not count",
    keys=list_networks,
)
def check_shared(context: AuditContext) -> Findings:
    """Find ordinary addresses in allowlists in use of several accounts."""
    is_compared = context.trunks["is_allowlist_used"] & (context.trunks["account"].nunique() > 1)
    used = context.trunks.loc[is_compared, ["account", "allowlist"]].drop_duplicates()
    used = used.loc[used["allowlist"].isin(_list_shared(context, used))]
    accounts: dict[Network, dict[str, None]] = {}
    for account, position in used.sort_values("account").itertuples(index=False):
        for network in _comparable(context, context.allowlists[position]):
            accounts.setdefault(network, {})[account] = None
    accounts = {network: names for network, names in accounts.items() if len(names) > 1}

    def decide(account: str, entries: Entries) -> Verdict | None:
        shared = [network for network in ordinary_networks(entries) if network in accounts]
        shown = [f"{show_network(network)} also in account {others(account, network)}" for network in shared]
        return Verdict(enumerate_some(shown, 3), cause=enumerate_networks(shared)) if shown else None

    def others(account: str, network: Network) -> str:
        names = accounts[network]
        return enumerate_first((quote(name) for name in names if name != account), len(names) - 1, 3)

    return context.decide(
        ["account", "allowlist"], decide, is_compared & context.trunks["allowlist"].isin(used["allowlist"])
    )


def _list_shared(context: AuditContext, used: pd.DataFrame) -> Integers:
    """Return the allowlists that may have an address of several accounts, without reading the plain ones."""
    allowlists, positions = context.allowlists, used["allowlist"].to_numpy()
    odd = np.unique(positions[~allowlists.is_plain[positions]])
    others = NetworkSet(network for position in odd for network in ordinary_networks(allowlists[position]))
    places, firsts, lasts = allowlists.list_entries(positions)
    networks, _ = number_combinations([firsts, lasts])
    _, pairs = number_combinations([networks, pd.factorize(used["account"])[0][places]])
    is_shared = (np.bincount(networks[pairs])[networks] > 1) | others.overlap(firsts, lasts)
    is_shared &= (firsts < lasts) | ~context.providers.known_addresses.overlap(firsts, lasts)
    shared: Integers = np.union1d(odd, positions[places[is_shared]])
    return shared


def _comparable(context: AuditContext, entries: Entries) -> list[Network]:
    is_provided = context.providers.known_addresses.contains
    return [network for network in ordinary_networks(entries) if not is_provided(network)]
