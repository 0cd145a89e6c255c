"""Rules on `allowed_inbound_ips`: who may send inbound calls.

Where calls are authorised by password, an allowlist does nothing: then only that it is there is worth a finding.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from trunk_transforms.audit.rules.context import Verdict, say
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import enumerate_first, enumerate_some, quote
from trunk_transforms.enrich.addresses import show_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunk_transforms.audit.rules.context import AuditContext
    from trunk_transforms.enrich.addresses import Entry, Network, NetworkSet

    Entries = tuple[Entry, ...]

_API = "the vendor's API documentation, June 2026"
_REGISTRY = "IANA's registries of special-purpose addresses (RFC 6890)"


@rule(
    "allowlist-empty",
    severity="critical",
    question="Which trunks authorise calls by allowlist and allow nobody?",
    why="No inbound call gets through. The API asks for at least one address, so that an empty list is a defect.",
    fix='add the addresses that send the calls to allowed_inbound_ips, or set inbound_authorization_type to "auth"',
    source=_API,
)
def check_empty(context: AuditContext) -> pd.DataFrame:
    """Find trunks of type `ip` without any entry."""
    is_ip = context.trunks["inbound_authorization_type"] == "ip"
    return context.decide(
        ["allowlist"],
        lambda entries: None if entries else Verdict("authorised by IP address, but the allowlist is empty"),
        is_ip,
    )


@rule(
    "allowlist-invalid",
    severity="critical",
    question="Which allowlists have entries that are neither an IP address nor a network?",
    why="Such an entry matches nobody: calls that it was meant for are refused.",
    fix="replace or remove the entry",
    source=_API,
)
def check_invalid(context: AuditContext) -> pd.DataFrame:
    """Find entries that cannot be read; those with a port, a scheme or spaces are told what they should be."""

    def decide(entries: Entries) -> Verdict | None:
        faults = dict.fromkeys(entry for entry in entries if entry.fault)
        meant = [show_network(entry.network) for entry in faults if entry.network]
        seen = enumerate_some([f"{quote(entry.text)} {entry.fault}" for entry in faults], 3)
        return Verdict(seen, f"write {enumerate_some(meant)} instead" if meant else None) if faults else None

    return context.decide(["allowlist"], decide, _has_odd_entries(context))


@rule(
    "allowlist-open",
    severity="critical",
    question="Which allowlists allow the whole internet?",
    why="Anybody who finds the trunk can place calls through it.",
    fix="remove the entry and list the addresses that send the calls",
    source="prefix length 0",
)
def check_open(context: AuditContext) -> pd.DataFrame:
    """Find 0.0.0.0/0 and ::/0."""
    return _judge_entries(context, lambda entry: entry.is_open, "allows every address there is")


@rule(
    "allowlist-wide",
    severity="high",
    question="Which allowlists have networks that are wider than a /24, of IPv6 wider than a /64?",
    why="A provider's gateways are few: a wide network lets strangers call in who rent a server in it.",
    fix="replace the network by the addresses that send the calls",
    source="the smallest networks that are routed on the internet",
)
def check_wide(context: AuditContext) -> pd.DataFrame:
    """Find wide public networks."""
    return _judge_entries(context, lambda entry: entry.is_wide, "allows far more addresses than calls come from")


@rule(
    "allowlist-private",
    severity="high",
    question="Which allowlists have private, loopback, link-local or CGNAT addresses?",
    why="The platform sees public addresses only, so that the entry matches nobody; the public one may be missing.",
    fix="remove it, and allow the public address that the calls come from, if that is not there",
    source=_REGISTRY,
)
def check_private(context: AuditContext) -> pd.DataFrame:
    """Find addresses that no call on the internet comes from."""
    kinds = ("private", "loopback", "link-local", "CGNAT")
    return _judge_entries(context, lambda entry: entry.kind in kinds, "cannot be seen from outside")


@rule(
    "allowlist-reserved",
    severity="medium",
    question="Which allowlists have addresses that are for documentation, or reserved?",
    why="Nobody has such an address: most likely it was copied from an example.",
    fix="remove it, and allow the address that the calls come from, if that is not there",
    source=_REGISTRY,
)
def check_reserved(context: AuditContext) -> pd.DataFrame:
    """Find addresses that nobody has."""
    kinds = ("documentation", "reserved")
    return _judge_entries(context, lambda entry: entry.kind in kinds, "stands for nobody on the internet")


@rule(
    "allowlist-duplicate",
    severity="low",
    question="Which allowlists have an entry twice?",
    why="Nothing breaks, but whoever removes one of the two believes that the address is gone.",
    fix="remove all but one",
    source="comparison of the entries",
)
def check_duplicate(context: AuditContext) -> pd.DataFrame:
    """Find entries that are the same network, however they are written."""

    def decide(entries: Entries) -> Verdict | None:
        counts = Counter(entry.network for entry in entries if entry.network and not entry.fault)
        twice = [f"{show_network(network)} is there {count} times" for network, count in counts.items() if count > 1]
        return Verdict(enumerate_some(twice, 3)) if twice else None

    return context.decide(["allowlist"], decide, context.trunks["is_allowlist_used"])


@rule(
    "allowlist-unused",
    severity="medium",
    question="Which trunks have an allowlist although they authorise calls by password?",
    why="The list does nothing, and who reads it believes the trunk protected. The API clears it, so it is a defect.",
    fix='set inbound_authorization_type to "ip" if the list is right, else clear it',
    source=_API,
)
def check_unused(context: AuditContext) -> pd.DataFrame:
    """Find entries where the type is `auth`."""

    def decide(entries: Entries) -> Verdict | None:
        shown = enumerate_some([quote(entry.text) for entry in entries], 3)
        return Verdict(f"authorised by password, but the allowlist has {shown}") if entries else None

    return context.decide(["allowlist"], decide, ~context.trunks["is_allowlist_used"])


def list_networks(context: AuditContext) -> pd.Series:
    """Return the ordinary networks of the allowlists in use that accounts are compared by: those of no provider."""
    provided = context.providers.known_addresses
    places = context.trunks.loc[context.trunks["is_allowlist_used"], "allowlist"]
    texts = {place: [str(n) for n in _comparable(context.allowlists[place], provided)] for place in places.unique()}
    networks: pd.Series = places.map(texts).explode().dropna().astype("str")
    return networks


@rule(
    "allowlist-shared",
    severity="info",
    question="Which addresses may call in to trunks of different accounts?",
    why="One that is left over from another customer is a way in; one of a common PBX is as it should be.",
    fix="make sure that the accounts share a PBX or carrier at that address",
    source="comparison of the accounts; addresses of known providers do not count",
    keys=list_networks,
)
def check_shared(context: AuditContext) -> pd.DataFrame:
    """Find ordinary addresses that are on allowlists in use of several accounts."""
    provided = context.providers.known_addresses
    used = context.trunks.loc[context.trunks["is_allowlist_used"], ["account", "allowlist"]].drop_duplicates()
    if used["account"].nunique() < 2:
        return say(pd.Series(dtype="str"))
    accounts: dict[Network, dict[str, None]] = {}
    for account, place in used.sort_values("account").itertuples(index=False):
        for network in _comparable(context.allowlists[place], provided):
            accounts.setdefault(network, {})[account] = None
    # Looked up for every entry: only those that several accounts have are kept.
    accounts = {network: names for network, names in accounts.items() if len(names) > 1}

    def decide(account: str, entries: Entries) -> Verdict | None:
        shared = [network for network in _ordinary(entries) if network in accounts]
        shown = [f"{show_network(network)} also in account {others(account, network)}" for network in shared]
        return Verdict(enumerate_some(shown, 3)) if shown else None

    def others(account: str, network: Network) -> str:
        names = accounts[network]
        return enumerate_first((quote(name) for name in names if name != account), len(names) - 1, 3)

    return context.decide(["account", "allowlist"], decide, context.trunks["is_allowlist_used"])


def _comparable(entries: Entries, provided: NetworkSet) -> list[Network]:
    return [network for network in _ordinary(entries) if not provided.overlaps(network)]


def _ordinary(entries: Entries) -> list[Network]:
    return list(dict.fromkeys(entry.network for entry in entries if entry.is_ordinary and entry.network))


def _judge_entries(context: AuditContext, is_meant: Callable[[Entry], bool], remark: str) -> pd.DataFrame:
    """Find the entries in use that are meant, each once; the remark follows their enumeration."""

    def decide(entries: Entries) -> Verdict | None:
        found = dict.fromkeys(_show(entry) for entry in entries if is_meant(entry))
        return Verdict(f"{enumerate_some(list(found), 3)} {remark}") if found else None

    return context.decide(["allowlist"], decide, _has_odd_entries(context))


def _has_odd_entries(context: AuditContext) -> pd.Series:
    return context.trunks["is_allowlist_used"] & ~context.trunks["is_allowlist_ordinary"]


def _show(entry: Entry) -> str:
    network = show_network(entry.network) if entry.network else quote(entry.text)
    return network if entry.kind == "public" else f"{network} ({entry.kind})"


RULES = (
    check_empty,
    check_invalid,
    check_open,
    check_wide,
    check_private,
    check_reserved,
    check_duplicate,
    check_unused,
    check_shared,
)
