"""Classify the entries of an allowlist, and validate SIP hosts."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
    summarize_address_range,
)
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Network = IPv4Network | IPv6Network
Owner = TypeVar("Owner", bound=Hashable)
AddressKind = Literal["invalid", "private", "loopback", "link-local", "CGNAT", "documentation", "reserved", "public"]
"""The purpose of an address; CGNAT is the range in which carriers put customers behind NAT."""


class NetworkSet:
    """The addresses of many networks, as sorted ranges that are searched by bisection."""

    def __init__(self, networks: Iterable[Network]) -> None:
        given = list(networks)
        self._ranges: dict[int, tuple[list[int], list[int]]] = {}
        for version in (4, 6):
            merged = list(collapse_addresses(n for n in given if n.version == version))  # type: ignore[type-var]
            self._ranges[version] = [_first(n) for n in merged], [_last(n) for n in merged]

    def overlaps(self, network: Network) -> bool:
        """Return whether the set and a network have an address in common."""
        firsts, lasts = self._ranges[network.version]
        index = bisect_right(firsts, _last(network))
        return index > 0 and lasts[index - 1] >= _first(network)

    def contains(self, network: Network) -> bool:
        """Return whether the set has every address of a network."""
        firsts, lasts = self._ranges[network.version]
        index = bisect_right(firsts, _first(network))
        return index > 0 and lasts[index - 1] >= _last(network)

    def overlap(self, firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the flags `overlaps` of IPv4 networks with these first and last addresses."""
        import numpy as np

        begins, ends = self._ranges[4]
        places = np.searchsorted(np.array(begins, dtype=np.int64), lasts, side="right")
        return np.array([-1, *ends])[places] >= firsts


def _first(network: Network) -> int:
    return int(network.network_address)


def _last(network: Network) -> int:
    return _first(network) | ((1 << network.max_prefixlen - network.prefixlen) - 1)


# Listed here, because `ipaddress` classifies documentation addresses as private and does not know CGNAT. The first
# match counts.
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
SPECIAL_ADDRESSES = NetworkSet(network for network, _ in _SPECIAL)
_IPV4, _IPV6_IN_USE = ip_network("0.0.0.0/0"), ip_network("2000::/3")
_IPV4_MAPPED = ip_network("::ffff:0:0/96")
FIRST_MAPPED = int(_IPV4_MAPPED.network_address)
"""0.0.0.0 in IPv6 notation, as a number."""
# The infrastructure ignores an entry with one of these.
_IGNORED = re.compile(r"[ \t\r\n,()+*;]|://")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_SINGLE_LABEL = r"[a-z](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST = rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?"
"""A regular expression for a normalized host name, in the syntax that Python, Arrow and DuckDB share.

The last label begins with a letter, so that misspelled IP addresses are not host names.
"""

_MOST_HOST_CHARACTERS = 253
_BOUNDS = 2

# Names that no public DNS has.
_INTERNAL = re.compile(
    rf"{_SINGLE_LABEL}|(?:{_LABEL}\.)+(?:corp|home|home\.arpa|internal|intranet|lan|local|localdomain|localhost|private)"
    rf"|(?:{_LABEL}\.)*(?:fritz\.box|speedport\.ip)"
)
_RESERVED = re.compile(rf"(?:{_LABEL}\.)+(?:alt|example|invalid|onion|test)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an allowlist. If it is invalid, `fault` names the error and `networks` are the probable intent.

    What LiveKit, which the platform runs on, does with an entry is inferred from its source.
    """

    text: str
    kind: AddressKind
    networks: tuple[Network, ...]
    fault: str | None = None

    @property
    def network(self) -> Network | None:
        """The network, or None if there is none, or several."""
        return self.networks[0] if len(self.networks) == 1 else None

    @property
    def is_ignored(self) -> bool:
        """Whether LiveKit drops the entry silently."""
        return _IGNORED.search(self.text) is not None

    @property
    def claimed_name(self) -> str | None:
        """The name that lets a caller in who writes it into the From header; None for addresses and dropped entries."""
        name = self.text.lower()
        is_name = self.fault and not self.is_ignored and re.fullmatch(f"{HOST}|{_SINGLE_LABEL}", name)
        return name if is_name else None

    @property
    def is_mapped(self) -> bool:
        """Whether the entry is an IPv4 network in IPv6 notation, which LiveKit compares with no IPv4 address."""
        return not self.fault and ":" in self.text and self.networks[0].version == 4

    @property
    def is_wide(self) -> bool:
        """Whether the entry allows more public addresses than one site has: more than a /24 (IPv4) or a /64 (IPv6)."""
        return self.kind == "public" and _is_wide(self.networks[0])

    @property
    def is_ordinary(self) -> bool:
        """Whether the entry is a public address or a narrow public network, and matches calls from there."""
        return self.kind == "public" and not self.is_wide and not self.is_mapped


def classify_entry(text: str) -> Entry:
    """Return the entry of an allowlist with its kind and its network.

    An address becomes a network of one address. Host bits in a network (203.0.113.5/24) are ignored. An IPv4 address
    in IPv6 notation (::ffff:203.0.113.5) becomes the IPv4 address. A network has a kind if all its addresses have it.
    """
    network = _parse_network(text)
    if network is not None:
        return Entry(text, _classify(network), (network,))
    fault, meant = _explain(text)
    return Entry(text, "invalid", meant, fault)


def _parse_network(text: str) -> Network | None:
    address, slash, prefix = text.partition("/")
    # ip_network also accepts netmasks, hostmasks and zones. The platform does not document them.
    if "%" in address or (slash and not re.fullmatch("0|[1-9][0-9]*", prefix)):
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network.network_address, IPv6Address) else None
    return ip_network(f"{mapped}/{network.prefixlen - 96}") if mapped and network.prefixlen >= 96 else network


def _explain(text: str) -> tuple[str, tuple[Network, ...]]:
    """Return the error in an entry, and the networks that it probably means (none if that is unclear)."""
    trimmed = text.strip()
    if not trimmed:
        return "is blank", ()
    if network := _parse_network(trimmed):
        return "has spaces around it", (network,)
    listed = [_parse_network(part) for part in re.split(r"[\s,;]+", trimmed) if part]
    if listed and all(listed):
        return "is a list of addresses", tuple(filter(None, listed))
    bounds = [bound.strip() for bound in re.split("[-\u2013]", trimmed)]
    if len(bounds) == _BOUNDS and parse_ip(bounds[0]) and (bounds[1].isdigit() or parse_ip(bounds[1])):
        return "is a range of addresses", _parse_range(*bounds)
    without_scheme = re.sub(r"^[a-z]+:(?://)?", "", trimmed, count=1, flags=re.IGNORECASE)
    without_port = re.sub(r"^\[(.*)\](?::\d+)?$|^([\d.]+):\d+$", r"\1\2", without_scheme)
    if network := _parse_network(without_port):
        return "is an address with a port, scheme or brackets", (network,)
    if re.fullmatch(r"[\d.]+(?:/\d+)?", trimmed):
        without_zeros = re.sub(r"\b0+(?=\d)", "", trimmed)
        # Programs read 010 as ten or as eight, so that the intended address is unclear.
        return ("has leading zeros" if _parse_network(without_zeros) else "is not an IP address"), ()
    return ("is a host name" if re.fullmatch(HOST, trimmed.lower()) else "is not an IP address or network"), ()


def _parse_range(first: str, last: str) -> tuple[Network, ...]:
    """Return the networks of a range; its end may be the last number alone, as in 192.0.2.1-9."""
    end = first.rpartition(".")[0] + "." + last if last.isdigit() else last
    try:
        return tuple(summarize_address_range(ip_address(first), ip_address(end)))
    except (TypeError, ValueError):
        return ()


def is_ordinary(network: Network) -> bool:
    """Return whether a network is a public address or a narrow public network."""
    return _classify(network) == "public" and not _is_wide(network)


def _is_wide(network: Network) -> bool:
    return network.prefixlen < (24 if network.version == 4 else 64) or _covers(network, _IPV4_MAPPED)


def _classify(network: Network) -> AddressKind:
    if SPECIAL_ADDRESSES.overlaps(network):
        for within, kind in _SPECIAL:
            if _covers(within, network):
                return kind
    is_public = network.version == 4 or network.overlaps(_IPV6_IN_USE) or _covers(network, _IPV4_MAPPED)
    return "public" if is_public else "reserved"


def _covers(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def covers(networks: Iterable[Network], inner: Network) -> bool:
    """Return whether one of the networks contains all of another."""
    return any(_covers(outer, inner) for outer in networks)


def measure_share(networks: Iterable[Network]) -> float:
    """Return which share of the internet, 0 to 1, networks have together: of IPv4 or of IPv6, the larger of the two.

    A network that contains all IPv4 addresses in IPv6 notation (::ffff:0:0/96) counts as all of IPv4.
    """
    given = set(networks)
    if any(_covers(network, _IPV4_MAPPED) for network in given):
        given.add(_IPV4)
    return max(_share_of(_IPV4, given), _share_of(_IPV6_IN_USE, given))


def _share_of(whole: Network, networks: Iterable[Network]) -> float:
    clipped = (whole if _covers(network, whole) else network for network in networks)
    inside: Iterable[Network] = collapse_addresses(n for n in clipped if _covers(whole, n))  # type: ignore[type-var]
    return sum(network.num_addresses for network in inside) / whole.num_addresses


def find_overlapping(spans: Iterable[tuple[int, int, Owner]]) -> set[Owner]:
    """Return the owners of spans, each a first, a last address and its owner, that overlap one of another owner."""
    found: set[Owner] = set()
    reach: dict[Owner, int] = {}  # only the two owners that reach furthest: a third one overlaps if one of them does
    for first, last, owner in sorted(spans, key=itemgetter(0)):
        others = [other for other, end in reach.items() if other != owner and end >= first]
        found.update(others, [owner] if others else [])
        reach[owner] = max(last, reach.get(owner, last))
        if len(reach) > 2:
            del reach[min(reach, key=reach.__getitem__)]
    return found


def measure_span(network: Network) -> tuple[int, int]:
    """Return the first and the last address as numbers, IPv4 addresses as in IPv6 notation."""
    base = FIRST_MAPPED if network.version == 4 else 0
    return base + _first(network), base + _last(network)


def show_network(network: Network) -> str:
    """Return a network as text, a single address without /32 or /128."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def normalize_host(address: str) -> str:
    """Return a host for comparison: in lower case, without surrounding spaces and without a final dot."""
    return address.strip().lower().removesuffix(".")


def parse_ip(host: str) -> Network | None:
    """Return a host that is an IP address (IPv6 also in brackets) as a network of one address, else None."""
    inside = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return None if "/" in inside else _parse_network(inside)


def explain_unreachable(host: str) -> str | None:
    """Return why a host cannot be reached from the internet, or None if it may be."""
    network = parse_ip(host)
    if network:
        kind = _classify(network)
        return None if kind == "public" else f"a {kind} address"
    if _RESERVED.fullmatch(host):
        return "a name that does not exist on the internet"
    return "a name that exists only inside a network" if _INTERNAL.fullmatch(host) else None


def explain_host(address: str) -> str | None:
    """Return the error in a host, or None if it is valid: at least one dot, no scheme, port, spaces or path."""
    if any(character.isspace() for character in address):
        return "has spaces"
    host = normalize_host(address)
    if parse_ip(host) or (len(host) <= _MOST_HOST_CHARACTERS and re.fullmatch(HOST, host)):
        return None
    faults = (
        (r"(?:sips?|tel):.*|[a-z]+://.*", "has a scheme"),
        (r".*@.*", "has a user in it"),
        (r".*[/?;].*", "has a path or parameters"),
        (r".*:\d*", "has a port"),
        (r"[\d.]+(?:-[\d.]*|[a-z]+)?", "resembles an IP address but is not valid"),
        (_LABEL, "has no domain"),
        (rf"(?:{_LABEL}\.)+\d[^.]*", "ends in a part that begins with a digit"),
    )
    return next((fault for pattern, fault in faults if re.fullmatch(pattern, host)), "is not a host name")


def find_host(address: str) -> str | None:
    """Return the host that an invalid value contains, or None if that is unclear."""
    found = re.fullmatch(r"(?:[a-z]+:(?://)?)?(?:[^@/]*@)?([^@/:;?]+)(?::\d*)?(?:[/;?].*)?", normalize_host(address))
    host = found[1].strip(" .") if found else ""
    return None if explain_host(host) else host
