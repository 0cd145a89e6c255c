"""Entries of allowlists and hosts: what kind of address each is, and what is wrong with it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunk_transforms.enrich.addresses import (
    classify_entry,
    covers,
    explain_host,
    explain_unreachable,
    find_host,
    find_overlapping,
    measure_share,
    measure_span,
    normalize_host,
    parse_ip,
)

if TYPE_CHECKING:
    from trunk_transforms.enrich.addresses import Network


@pytest.mark.parametrize(
    ("text", "kind", "network"),
    [
        ("8.8.8.8", "public", "8.8.8.8/32"),
        ("10.1.2.3", "private", "10.1.2.3/32"),
        ("172.31.255.255", "private", "172.31.255.255/32"),
        ("172.32.0.0", "public", "172.32.0.0/32"),
        ("192.168.0.0/16", "private", "192.168.0.0/16"),
        ("127.0.0.1", "loopback", "127.0.0.1/32"),
        ("169.254.1.1", "link-local", "169.254.1.1/32"),
        ("100.64.0.1", "CGNAT", "100.64.0.1/32"),
        ("100.128.0.1", "public", "100.128.0.1/32"),
        ("203.0.113.5", "documentation", "203.0.113.5/32"),
        ("203.0.113.5/24", "documentation", "203.0.113.0/24"),  # host bits are ignored
        ("203.0.112.0/23", "public", "203.0.112.0/23"),  # half of it is for documentation
        ("0.0.0.0", "reserved", "0.0.0.0/32"),
        ("255.255.255.255", "reserved", "255.255.255.255/32"),
        ("224.0.0.1", "reserved", "224.0.0.1/32"),
        ("0.0.0.0/0", "public", "0.0.0.0/0"),
        ("::/0", "public", "::/0"),
        ("::1", "loopback", "::1/128"),
        ("fe80::1", "link-local", "fe80::1/128"),
        ("fd00::1", "private", "fd00::1/128"),
        ("2001:db8::1", "documentation", "2001:db8::1/128"),
        ("2a00:1450::1", "public", "2a00:1450::1/128"),
        ("4000::1", "reserved", "4000::1/128"),
        ("::ffff:10.0.0.1", "private", "10.0.0.1/32"),  # an IPv4 address in IPv6's clothes
        ("::ffff:8.8.8.0/120", "public", "8.8.8.0/24"),
    ],
)
def test_an_entry_is_classified_by_explicit_ranges(text: str, kind: str, network: str) -> None:
    entry = classify_entry(text)
    assert (entry.kind, str(entry.network), entry.fault) == (kind, network, None)


@pytest.mark.parametrize(
    ("text", "fault", "meant"),
    [
        (" 8.8.8.8\n", "has spaces around it", "8.8.8.8/32"),
        ("8.8.8.8:5060", "is an address with a port, scheme or brackets", "8.8.8.8/32"),
        ("sip:8.8.8.8", "is an address with a port, scheme or brackets", "8.8.8.8/32"),
        ("[2a00::1]:5060", "is an address with a port, scheme or brackets", "2a00::1/128"),
        ("8.8.8.010", "has leading zeros", None),  # ten or eight: a guess
        ("8.8.8", "is not an IP address", None),
        ("8.8.8.8/33", "is not an IP address", None),
        ("8.8.8.0/255.255.255.0", "is not an IP address or network", None),
        ("8.8.8.8a", "is not an IP address or network", None),
        ("8.8.8.8-9", "is a range of addresses", "8.8.8.8/31"),
        ("8.8.8.8 \u2013 8.8.8.9", "is a range of addresses", "8.8.8.8/31"),
        ("2a00::2-2a00::3", "is a range of addresses", "2a00::2/127"),
        ("8.8.8.1-8.8.8.9", "is a range of addresses", None),  # several networks
        ("8.8.8.9-8.8.8.1", "is a range of addresses", None),
        ("8.8.8.8-300", "is a range of addresses", None),
        ("8.8.8.8;", "is a list of addresses", "8.8.8.8/32"),
        ("8.8.8.0/024", "has leading zeros", None),
        ("fe80::1%eth0", "is not an IP address or network", None),
        ("sip.example.com", "is a host name", None),
        ("null", "is not an IP address or network", None),
        ("", "is blank", None),
    ],
)
def test_an_invalid_entry_has_a_fault_and_the_intended_networks(text: str, fault: str, meant: str | None) -> None:
    entry = classify_entry(text)
    assert (entry.kind, entry.fault, entry.network and str(entry.network)) == ("invalid", fault, meant)


@pytest.mark.parametrize(
    ("text", "is_wide"),
    [
        ("0.0.0.0/0", True),
        ("::/0", True),
        ("::ffff:0:0/95", True),  # all IPv4 addresses in IPv6 notation
        ("8.0.0.0/8", True),
        ("8.8.8.0/23", True),
        ("8.8.8.0/24", False),
        ("2a00::/63", True),
        ("2a00::/64", False),
        ("10.0.0.0/8", False),  # private is what is wrong with it
    ],
)
def test_a_network_is_wide_by_its_prefix(text: str, is_wide: bool) -> None:
    assert classify_entry(text).is_wide == is_wide


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sip.example.com", "sip.example.com"),
        ("PBX.example.com", "pbx.example.com"),
        ("localhost", "localhost"),
        ("pbx-1", "pbx-1"),
        ("8.8.8.8", None),
        ("8.8.8.8:5060", None),
        ("8.8.8.8/33", None),
        ("8.8.8.8-9", None),
        ("2a00::1%eth0", None),
        ("pbx;x", None),  # dropped
        ("", None),
    ],
)
def test_a_caller_can_claim_a_name(text: str, name: str | None) -> None:
    assert classify_entry(text).claimed_name == name


@pytest.mark.parametrize(
    ("text", "is_mapped"),
    [("::ffff:8.8.8.8", True), ("::FFFF:808:808", True), ("::ffff:0:0/96", True), ("::ffff:0:0/95", False)]
    + [(text, False) for text in ("8.8.8.8", "2a00::1", "[::ffff:8.8.8.8]", "")],
)
def test_an_ipv4_address_may_be_in_ipv6_notation(text: str, is_mapped: bool) -> None:
    assert classify_entry(text).is_mapped == is_mapped


NETWORKS = st.lists(
    st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        st.integers(0, 2**8 - 1).map(lambda top: top << 24),
        st.integers(0, 8),
    )
    | st.sampled_from([ip_network(text) for text in ("::/0", "::ffc0:0:0/90", "2000::/3", "2000::/4", "3000::/4")]),
    max_size=5,
)


@pytest.mark.parametrize(
    ("networks", "share"),
    [
        ("", 0),
        ("0.0.0.0/1 128.0.0.0/1", 1),
        ("0.0.0.0/1 0.0.0.0/2 128.0.0.0/2", 0.75),
        ("128.0.0.0/2 2000::/4", 0.5),  # of IPv4 and of IPv6, not added up
        ("2000::/4 3000::/4", 1),
        ("::/0", 1),
        ("::fffe:0:0/95 1.0.0.0/8", 1),
        ("4000::/2", 0),  # not in use
    ],
)
def test_the_share_of_the_internet_is_that_of_all_networks_together(networks: str, share: float) -> None:
    assert measure_share(map(ip_network, networks.split())) == share


@given(st.dictionaries(st.integers(0, 5), NETWORKS))
def test_owners_overlap_if_a_network_of_one_overlaps_that_of_another(owned: dict[int, list[Network]]) -> None:
    def overlap(one: Network, other: Network) -> bool:
        return covers([_mapped(one)], _mapped(other)) or covers([_mapped(other)], _mapped(one))

    expected = {
        owner
        for owner, mine in owned.items()
        for other, theirs in owned.items()
        if owner != other and any(overlap(one, two) for one in mine for two in theirs)
    }
    spans = [(*measure_span(network), owner) for owner, networks in owned.items() for network in networks]
    assert find_overlapping(spans) == expected


def _mapped(network: Network) -> Network:
    """Return an IPv4 network in IPv6 notation."""
    if network.version == 6:
        return network
    return ip_network((int(network.network_address) + (0xFFFF << 32), network.prefixlen + 96))


@given(st.text() | st.text("0123456789.:/[] sipx%-"))
def test_any_text_is_classified_and_explained(text: str) -> None:
    entry = classify_entry(text)
    assert (entry.kind == "invalid") == (entry.fault is not None)
    explain_host(text)
    found = find_host(text)
    assert found is None or (explain_host(found) is None and normalize_host(found) == found)


@pytest.mark.parametrize(
    ("address", "fault", "host"),
    [
        ("sip.example.com", None, "sip.example.com"),
        ("SIP.Example.com.", None, "sip.example.com"),
        ("_sip._udp.example.com", None, "_sip._udp.example.com"),
        ("8.8.8.8", None, "8.8.8.8"),
        ("[2a00::1]", None, None),
        (" sip.example.com", "has spaces", "sip.example.com"),
        ("sip:sip.example.com", "has a scheme", "sip.example.com"),
        ("https://sip.example.com/x", "has a scheme", "sip.example.com"),
        ("sip.example.com:5060", "has a port", "sip.example.com"),
        ("8.8.8.8:5060", "has a port", "8.8.8.8"),
        ("me@sip.example.com", "has a user in it", "sip.example.com"),
        ("sip.example.com/trunk", "has a path or parameters", "sip.example.com"),
        ("sip.example.com;transport=tls", "has a path or parameters", "sip.example.com"),
        ("8.8.8", "resembles an IP address but is not valid", None),
        ("192.168.1.10-20", "resembles an IP address but is not valid", None),
        ("8.8.8.8-8.8.8.20", "resembles an IP address but is not valid", None),
        ("8.8.8.8a", "resembles an IP address but is not valid", None),
        ("sip.telnyx.123", "ends in a part that begins with a digit", None),
        ("sip.example.com..", "is not a host name", "sip.example.com"),
        ("3cx.example.xn--p1ai", None, "3cx.example.xn--p1ai"),
        ("localhost", "has no domain", None),
        ("sip..example.com", "is not a host name", None),
        ("münchen.example", "is not a host name", None),
        (f"{'a.' * 130}example", "is not a host name", None),
    ],
)
def test_a_host_is_a_host_alone(address: str, fault: str | None, host: str | None) -> None:
    assert (explain_host(address), find_host(address)) == (fault, host)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("sip.example.com", None),
        ("8.8.8.8", None),
        ("10.0.0.1", "a private address"),
        ("[::1]", "a loopback address"),
        ("pbx", "a name that exists only inside a network"),
        ("pbx.fritz.home.arpa", "a name that exists only inside a network"),
        *(
            (f"pbx.{end}", "a name that does not exist on the internet")
            for end in ("test", "invalid", "example", "onion")
        ),
        ("test.example.com", None),
        ("a\x00b.example", None),  # not a host
    ],
)
def test_a_host_may_be_unreachable(host: str, reason: str | None) -> None:
    assert explain_unreachable(host) == reason


def test_a_bare_address_is_one_with_or_without_brackets() -> None:
    hosts = ["8.8.8.8", "[2a00::1]", "2a00::1", "8.8.8.0/24", "sip.example.com"]
    assert [parse_ip(normalize_host(host)) is not None for host in hosts] == [True, True, True, False, False]
