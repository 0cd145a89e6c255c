"""IP addresses and SIP hosts: what an allowlist's entry is, what is wrong with a host, which provider is behind it."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from importlib import resources
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from transforms.numbers import as_flags, as_text
from transforms.schema import CALLING_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Network = IPv4Network | IPv6Network
AddressKind = Literal["invalid", "private", "loopback", "link-local", "CGNAT", "documentation", "reserved", "public"]
"""What an address is for; CGNAT is what carriers put their customers behind."""


class NetworkSet:
    """The addresses of many networks, as ranges in ascending order: each is found by bisection."""

    def __init__(self, networks: Iterable[Network]) -> None:
        given = list(networks)
        self._ranges: dict[int, tuple[list[int], list[int]]] = {}
        for version in (4, 6):
            merged = list(collapse_addresses(n for n in given if n.version == version))  # type: ignore[type-var]
            self._ranges[version] = [_first(n) for n in merged], [_last(n) for n in merged]

    def overlaps(self, network: Network) -> bool:
        """Whether it has an address in common with a network."""
        firsts, lasts = self._ranges[network.version]
        place = bisect_right(firsts, _last(network))
        return place > 0 and lasts[place - 1] >= _first(network)


def _first(network: Network) -> int:
    return int(network.network_address)


def _last(network: Network) -> int:
    return _first(network) | ((1 << network.max_prefixlen - network.prefixlen) - 1)


# Explicit, because `ipaddress` calls documentation private and knows nothing of CGNAT. The first that holds counts.
_RANGES: tuple[tuple[AddressKind, tuple[str, ...]], ...] = (
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("CGNAT", ("100.64.0.0/10",)),
    ("documentation", ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")),
    ("reserved", ("0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4")),
    ("reserved", ("2001::/23", "2002::/16")),
)
_SPECIAL = tuple((ip_network(text), kind) for kind, texts in _RANGES for text in texts)
_SPECIAL_SET = NetworkSet(network for network, _ in _SPECIAL)
_IPV6_IN_USE = ip_network("2000::/3")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})+"
_MOST_HOST_CHARACTERS = 253

UNKNOWN_PROVIDER = "unknown"
"""The provider of a host that no fact is about."""

PASSWORD_SEVERITIES = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an allowlist. Of an invalid one, `fault` says what is wrong, `network` what was probably meant."""

    text: str
    kind: AddressKind
    network: Network | None
    fault: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it allows the whole internet."""
        return self.kind != "invalid" and self.network is not None and self.network.prefixlen == 0

    @property
    def is_wide(self) -> bool:
        """Whether it allows more public addresses than one site has: more than a /24, of IPv6 more than a /64."""
        if self.kind != "public" or self.network is None or self.is_open:
            return False
        return self.network.prefixlen < (24 if self.network.version == 4 else 64)

    @property
    def is_ordinary(self) -> bool:
        """Whether it is a public address or a narrow network of them, with nothing to say against it."""
        return self.kind == "public" and not self.is_open and not self.is_wide


def classify_entry(text: str) -> Entry:
    """Return what an allowlist's entry is.

    An address is a network of one; host bits in a network (203.0.113.5/24) are ignored; an IPv4 address written as IPv6
    (::ffff:203.0.113.5) is that IPv4 address. A network is of a kind if all of it is.
    """
    network = _parse_network(text)
    if network is not None:
        return Entry(text, _classify(network), network)
    fault, meant = _explain(text)
    return Entry(text, "invalid", _parse_network(meant), fault)


def _parse_network(text: str) -> Network | None:
    address, slash, prefix = text.partition("/")
    # ip_network takes netmasks, hostmasks and zones, too, which nothing says that the platform does.
    if "%" in address or (slash and not (prefix.isascii() and prefix.isdigit())):
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network.network_address, IPv6Address) else None
    return ip_network(f"{mapped}/{network.prefixlen - 96}") if mapped and network.prefixlen >= 96 else network


def _explain(text: str) -> tuple[str, str]:
    """Return what is wrong with an entry, and the nearest thing to an address in it."""
    trimmed = text.strip()
    if not trimmed:
        return "is blank", ""
    if _parse_network(trimmed):
        return "has spaces around it", trimmed
    without_scheme = re.sub(r"^[a-z]+:(?://)?", "", trimmed, count=1, flags=re.IGNORECASE)
    without_port = re.sub(r"^\[(.*)\](?::\d+)?$|^([\d.]+):\d+$", r"\1\2", without_scheme)
    if _parse_network(without_port):
        return "is an address with a port, scheme or brackets", without_port
    if re.fullmatch(r"[\d.]+(?:/\d+)?", trimmed):
        without_zeros = re.sub(r"\b0+(?=\d)", "", trimmed)
        # Some read 010 as ten, some as eight: what was meant is a guess, so that it is left to people.
        return ("has leading zeros" if _parse_network(without_zeros) else "is no IP address"), ""
    if re.fullmatch(_HOST, trimmed.lower()):
        return "is a host name", ""
    return "is no IP address or network", ""


def _classify(network: Network) -> AddressKind:
    if network.prefixlen == 0:
        return "public"
    if _SPECIAL_SET.overlaps(network):
        for within, kind in _SPECIAL:
            if _covers(within, network):
                return kind
    return "public" if network.version == 4 or network.overlaps(_IPV6_IN_USE) else "reserved"


def _covers(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def covers(networks: Iterable[Network], inner: Network) -> bool:
    """Whether one of the networks contains all of another."""
    return any(_covers(outer, inner) for outer in networks)


def show_network(network: Network) -> str:
    """Return a network as people write it: an address without its /32."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def normalize_host(address: str) -> str:
    """Return a host as hosts are compared: lower case, no spaces around it, no dot at its end."""
    return address.strip().lower().removesuffix(".")


def parse_ip(host: str) -> Network | None:
    """Return a host that is a bare IP address, of IPv6 also in brackets, as a network of one; None if it is none."""
    inside = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return None if "/" in inside else _parse_network(inside)


def explain_host(address: str) -> str | None:
    """Return what is wrong with a host, None if it is one: no scheme, no port, no spaces, no path, one dot or more."""
    if any(character.isspace() for character in address):
        return "has spaces"
    host = normalize_host(address)
    if parse_ip(host):
        return None
    faults = (
        (r"(?:sips?|tel):.*|[a-z]+://.*", "has a scheme"),
        (r".*@.*", "has a user in it"),
        (r".*[/?;].*", "has a path or parameters"),
        (r".*:\d*", "has a port"),
        (r"[\d.]+", "looks like an IP address but is none"),
        (_LABEL, "has no domain"),
    )
    for pattern, fault in faults:
        if re.fullmatch(pattern, host):
            return fault
    is_host = len(host) <= _MOST_HOST_CHARACTERS and re.fullmatch(_HOST, host)
    return None if is_host else "is no host name"


def find_host(address: str) -> str | None:
    """Return the host within something that is wrong as a host; None if it is not clear which it is."""
    found = re.fullmatch(r"(?:[a-z]+:(?://)?)?(?:[^@/]*@)?([^@/:;?]+)(?::\d*)?(?:[/;?].*)?", normalize_host(address))
    host = found[1].strip() if found else ""
    return host if host and not explain_host(host) else None


@dataclass(frozen=True)
class AddressGroup:
    """Addresses of a provider that send inbound calls: an allowlist has to have all of at least one group."""

    name: str
    addresses: tuple[Network, ...]
    optional: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[Network, ...]:
        """All of them, also those that an allowlist may lack."""
        return (*self.addresses, *self.optional)

    @cached_property
    def required(self) -> frozenset[Network]:
        """Those that an allowlist must have."""
        return frozenset(self.addresses)

    def is_for(self, host: str) -> bool:
        """Whether calls of a trunk at this host come from here."""
        return not self.hosts or re.search(_pattern(self.hosts), host) is not None


@dataclass(frozen=True)
class Provider:
    """What is known about a provider, as of a day. `None` and empty: nothing. See providers.toml."""

    name: str
    as_of: date
    hosts: tuple[str, ...]
    exact_host: str | None = None
    exact_host_reason: str | None = None
    calling_format: str | None = None
    needs_outbound_proxy: bool = False
    is_supported: bool = True
    password_severity: str | None = None
    regions_complete: bool = True
    groups: tuple[AddressGroup, ...] = ()

    def groups_for(self, host: str) -> list[AddressGroup]:
        """Return the groups that send the calls of a trunk at this host."""
        return [group for group in self.groups if group.is_for(host)]

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every address of the provider that is known."""
        return NetworkSet(network for group in self.groups for network in group.known)


@dataclass(frozen=True)
class Providers:
    """The facts on all providers, and the hosts of the platform itself."""

    providers: tuple[Provider, ...]
    platform_hosts: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Provider]:
        """The providers by name."""
        return {provider.name: provider for provider in self.providers}

    @cached_property
    def known_addresses(self) -> NetworkSet:
        """Every address of any provider that is known."""
        return NetworkSet(n for provider in self.providers for group in provider.groups for n in group.known)

    def is_platform(self, host: str) -> bool:
        """Whether a host is the platform's own."""
        return bool(self.platform_hosts) and re.search(_pattern(self.platform_hosts), host) is not None


def derive_provider(trunks: pd.DataFrame, providers: Providers) -> pd.DataFrame:
    """Return the trunks with the provider that is behind their host.

    Needs `sip_address`. Adds, or replaces, `provider`: its name, `unknown` for a host that no fact is about and for
    what is no host, null where there is none.
    """
    addresses = trunks["sip_address"].astype("str")
    distinct = pd.Series(addresses.dropna().unique(), dtype="str")
    hosts = as_text(distinct.map(normalize_host).astype("str"))
    names = np.full(len(distinct), UNKNOWN_PROVIDER, dtype=object)
    names[as_flags(pc.equal(hosts, ""))] = None
    is_open = as_flags(pc.match_substring_regex(hosts, f"^{_HOST}$"))
    for provider in providers.providers:
        if provider.hosts:
            is_of = is_open & as_flags(pc.match_substring_regex(hosts, _pattern(provider.hosts)))
            names[is_of] = provider.name
            is_open &= ~is_of
    return trunks.assign(provider=addresses.map(dict(zip(distinct, names, strict=True))).astype("str"))


def _pattern(hosts: Iterable[str]) -> str:
    """Return what matches the end of a host on a label boundary, in Python's as in Arrow's regular expressions."""
    patterns = (re.escape(host.lower()).replace(r"\*", "[^.]+") for host in hosts)
    return rf"(?:^|\.)(?:{'|'.join(patterns)})$"


def default_providers() -> Providers:
    """Return the facts that come with the product."""
    return read_providers(resources.files("transforms").joinpath("providers.toml").read_text("utf-8"))


def read_providers(text: str) -> Providers:
    """Return the facts of a file such as providers.toml. Raises ValueError with one line that says what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no valid TOML: {error}") from None
    fields = _Fields("the file", document)
    platform_hosts = fields.texts("platform_hosts")
    providers = tuple(_read_provider(fields) for fields in fields.tables("provider"))
    fields.refuse_others()
    names = [provider.name for provider in providers]
    if UNKNOWN_PROVIDER in names:
        raise ValueError(f"no provider can be called {UNKNOWN_PROVIDER!r}: that is what hosts without a fact get")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"provider {twice[0]!r} is there twice")
    return Providers(providers, platform_hosts)


def _read_provider(fields: _Fields) -> Provider:
    name = fields.text("name")
    if name is None:
        raise ValueError(f"{fields.where} has no name")
    fields = _Fields(f"provider {name!r}", fields.values)
    fields.text("name")
    provider = Provider(
        name=name,
        as_of=fields.day("as_of"),
        hosts=fields.texts("hosts", is_required=True),
        exact_host=fields.text("exact_host"),
        exact_host_reason=fields.text("exact_host_reason"),
        calling_format=fields.text("calling_format", CALLING_FORMATS),
        needs_outbound_proxy=fields.flag("needs_outbound_proxy", default=False),
        is_supported=fields.flag("is_supported", default=True),
        password_severity=fields.text("password_severity", PASSWORD_SEVERITIES),
        regions_complete=fields.flag("regions_complete", default=True),
        groups=tuple(_read_group(group, name) for group in fields.tables("group")),
    )
    fields.refuse_others()
    return provider


def _read_group(fields: _Fields, provider: str) -> AddressGroup:
    name = fields.text("name")
    if name is None:
        raise ValueError(f"{fields.where} of provider {provider!r} has no name")
    fields = _Fields(f"group {name!r} of provider {provider!r}", fields.values)
    fields.text("name")
    group = AddressGroup(
        name=name,
        addresses=fields.networks("addresses", is_required=True),
        optional=fields.networks("optional"),
        hosts=fields.texts("hosts"),
    )
    fields.refuse_others()
    return group


class _Fields:
    """One table of the file, read field by field; what nobody asked for is a mistake of whoever wrote it."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where = where
        self.values = values
        self.asked: list[str] = []

    def _get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return self.values.get(name, default)

    def _refuse(self, name: str, expected: str) -> ValueError:
        problem = f"is no {expected}" if name in self.values else "is missing"
        return ValueError(f"{self.where}: {name} {problem}")

    def text(self, name: str, allowed: tuple[str, ...] = ()) -> str | None:
        value = self._get(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self._refuse(name, "text")
        if value is not None and allowed and value not in allowed:
            raise ValueError(f"{self.where}: {name} is {value!r}, not one of {', '.join(allowed)}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._refuse(name, "true or false")
        return value

    def day(self, name: str) -> date:
        value = self._get(name)
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self._refuse(name, "day such as 2026-06-01")
        return value

    def texts(self, name: str, *, is_required: bool = False) -> tuple[str, ...]:
        values = self._get(name, None if is_required else [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise self._refuse(name, "list of texts")
        return tuple(values)

    def networks(self, name: str, *, is_required: bool = False) -> tuple[Network, ...]:
        entries = [classify_entry(text) for text in self.texts(name, is_required=is_required)]
        for entry in entries:
            if entry.fault:
                raise ValueError(f"{self.where}: {name} has {entry.text!r}, which {entry.fault}")
        if is_required and not entries:
            raise ValueError(f"{self.where}: {name} is empty")
        return tuple(entry.network for entry in entries if entry.network is not None)

    def tables(self, name: str) -> list[_Fields]:
        tables = self._get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._refuse(name, f"list of tables: write each as [[{name}]]")
        return [_Fields(f"{name} {number}", table) for number, table in enumerate(tables, 1)]

    def refuse_others(self) -> None:
        others = sorted(set(self.values) - set(self.asked))
        if others:
            raise ValueError(f"{self.where}: nothing is called {others[0]!r}; there are {', '.join(self.asked)}")
