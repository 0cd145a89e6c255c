from __future__ import annotations

from datetime import date
from ipaddress import ip_network

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.addresses import (
    classify_entry,
    explain_host,
    find_host,
    normalize_host,
    parse_ip,
)
from transforms.providers import default_providers, derive_provider, read_providers


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
        ("8.8.8", "is no IP address", None),
        ("8.8.8.8/33", "is no IP address", None),
        ("8.8.8.0/255.255.255.0", "is no IP address or network", None),
        ("8.8.8.1-8.8.8.9", "is a host name", None),
        ("fe80::1%eth0", "is no IP address or network", None),
        ("sip.example.com", "is a host name", None),
        ("null", "is no IP address or network", None),
        ("", "is blank", None),
    ],
)
def test_an_entry_that_cannot_be_read_says_why_and_what_was_meant(text: str, fault: str, meant: str | None) -> None:
    entry = classify_entry(text)
    assert (entry.kind, entry.fault, entry.network and str(entry.network)) == ("invalid", fault, meant)


@pytest.mark.parametrize(
    ("text", "is_open", "is_wide"),
    [
        ("0.0.0.0/0", True, False),
        ("::/0", True, False),
        ("8.0.0.0/8", False, True),
        ("8.8.8.0/23", False, True),
        ("8.8.8.0/24", False, False),
        ("2a00::/63", False, True),
        ("2a00::/64", False, False),
        ("10.0.0.0/8", False, False),  # private is what is wrong with it
    ],
)
def test_a_network_is_open_or_wide_by_its_prefix(text: str, is_open: bool, is_wide: bool) -> None:
    entry = classify_entry(text)
    assert (entry.is_open, entry.is_wide) == (is_open, is_wide)


@given(st.text() | st.text("0123456789.:/[] sipx%-"))
def test_any_text_is_classified_and_explained(text: str) -> None:
    entry = classify_entry(text)
    assert (entry.kind == "invalid") == (entry.fault is not None)
    explain_host(text)
    found = find_host(text)
    assert found is None or explain_host(found) is None


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
        ("8.8.8", "looks like an IP address but is none", None),
        ("localhost", "has no domain", None),
        ("sip..example.com", "is no host name", None),
        ("münchen.example", "is no host name", None),
        (f"{'a.' * 130}example", "is no host name", None),
    ],
)
def test_a_host_is_a_host_alone(address: str, fault: str | None, host: str | None) -> None:
    assert (explain_host(address), find_host(address)) == (fault, host)


def test_a_bare_address_is_one_with_or_without_brackets() -> None:
    hosts = ["8.8.8.8", "[2a00::1]", "2a00::1", "8.8.8.0/24", "sip.example.com"]
    assert [parse_ip(normalize_host(host)) is not None for host in hosts] == [True, True, True, False, False]


def provider_of(*addresses: str | None) -> list[str | None]:
    derived = derive_provider(pd.DataFrame({"sip_address": list(addresses)}, dtype="str"), default_providers())
    return [None if pd.isna(name) else name for name in derived["provider"]]


@pytest.mark.parametrize(
    ("address", "provider"),
    [
        ("sip.telnyx.com", "Telnyx"),
        ("acme.sip.telnyx.com", "Telnyx"),
        ("acme.pstn.twilio.com", "Twilio"),
        ("out.didww.com", "DIDWW"),
        ("sip.nl.didlogic.net", "DIDLogic"),
        ("voip.easybell.de", "easybell"),
        ("sip.plusnet.de", "fonial"),
        ("sip.sipcall.ch", "sipcall"),
        ("acme.sip.vonage.com", "Vonage"),
        ("nl.wavix.net", "Wavix"),
        ("acme.zt.plivo.com", "Plivo"),
        ("sip10.ringcentral.com", "RingCentral"),
        ("acme.voiceconnector.chime.aws", "Amazon Chime"),
        ("sbc-nyc.five9.com", "Five9"),
        ("acme.byoc.usw2.pure.cloud", "Genesys Cloud"),
        ("pbx.zadarma.com", "Zadarma"),
        ("acme.nfon.com", "NFON"),
        ("acme.peoplefone.ch", "Peoplefone"),
        ("fpbx.placetel.de", "Placetel"),
        ("acme.sipgate.de", "Sipgate"),
    ],
)
def test_every_provider_is_known_by_its_host(address: str, provider: str) -> None:
    assert provider_of(address) == [provider]


def test_hosts_match_at_a_dot_in_any_case_and_with_a_dot_at_the_end() -> None:
    assert provider_of("SIP.Telnyx.COM.", " sip.telnyx.com") == ["Telnyx", "Telnyx"]
    others = [
        "eviltelnyx.com",
        "telnyx.com.evil.example",
        "sip.telnyx.com:5060",
        "sip:sip.telnyx.com",
        "a.sip.livekit.cloud",
    ]
    assert provider_of(*others) == ["unknown"] * len(others)


def test_without_a_host_there_is_no_provider() -> None:
    assert provider_of(None, "", " ") == [None, None, None]
    assert provider_of() == []


ONE_PROVIDER = '[[provider]]\nname = "Acme"\nas_of = 2026-01-02\nhosts = ["acme.example", "gw-*.acme.example"]\n'


def test_facts_that_an_operator_has_edited_are_read() -> None:
    group = '[[provider.group]]\nname = "all"\naddresses = ["8.8.8.0/24"]\noptional = ["9.9.9.9"]\n'
    providers = read_providers(f'platform_hosts = ["in.example"]\n{ONE_PROVIDER}password_severity = "low"\n{group}')
    acme = providers.by_name["Acme"]
    assert (acme.as_of, acme.password_severity, acme.is_supported) == (date(2026, 1, 2), "low", True)
    known = {
        text: acme.known_addresses.overlaps(ip_network(text))
        for text in (
            "8.8.8.0/25",
            "8.8.0.0/16",
            "9.9.9.9/32",
            "9.9.9.8/31",
            "9.9.9.8/32",
            "8.8.9.0/24",
            "::9.9.9.9/128",
            "0.0.0.0/0",
        )
    }
    assert known == {
        "8.8.8.0/25": True,
        "8.8.0.0/16": True,
        "9.9.9.9/32": True,
        "9.9.9.8/31": True,
        "9.9.9.8/32": False,
        "8.8.9.0/24": False,
        "::9.9.9.9/128": False,
        "0.0.0.0/0": True,
    }
    assert providers.is_platform("a.in.example")
    assert not providers.is_platform("win.example")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name=", "no valid TOML: Invalid value (at end of document)"),
        ("provider = 1", "the file: provider is no list of tables: write each as [[provider]]"),
        ("providers = []", "the file: nothing is called 'providers'; there are platform_hosts, provider"),
        ("[[provider]]", "provider 1 has no name"),
        ('[[provider]]\nname = "A"', "provider 'A': as_of is missing"),
        ('[[provider]]\nname = "A"\nas_of = "June"', "provider 'A': as_of is no day such as 2026-06-01"),
        ('[[provider]]\nname = "A"\nas_of = 2026-01-02T10:00:00', "provider 'A': as_of is no day such as 2026-06-01"),
        ('[[provider]]\nname = "A"\nas_of = 2026-01-02', "provider 'A': hosts is missing"),
        ('[[provider]]\nname = " "', "provider 1: name is no text"),
        (
            ONE_PROVIDER.replace("Acme", "unknown"),
            "no provider can be called 'unknown': that is what hosts without a fact get",
        ),
        (ONE_PROVIDER * 2, "provider 'Acme' is there twice"),
        (
            f'{ONE_PROVIDER}calling_format = "E164"',
            "provider 'Acme': calling_format is 'E164', not one of +e164, e164, national",
        ),
        (
            f'{ONE_PROVIDER}password_severity = "bad"',
            "provider 'Acme': password_severity is 'bad', not one of low, medium, high",
        ),
        (f"{ONE_PROVIDER}is_supported = 1", "provider 'Acme': is_supported is no true or false"),
        (f"{ONE_PROVIDER}[[provider.group]]", "group 1 of provider 'Acme' has no name"),
        (f'{ONE_PROVIDER}[[provider.group]]\nname = "g"', "group 'g' of provider 'Acme': addresses is missing"),
        (
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"\naddresses = []',
            "group 'g' of provider 'Acme': addresses is empty",
        ),
        (
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"\naddresses = ["8.8.8"]',
            "group 'g' of provider 'Acme': addresses has '8.8.8', which is no IP address",
        ),
    ],
)
def test_facts_that_are_wrong_are_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_providers(text)
    assert str(refused.value) == problem


def test_the_facts_that_come_along_are_complete() -> None:
    providers = default_providers()
    assert len(providers.providers) == 20
    assert len(providers.by_name["DIDLogic"].groups) == 15
    assert len(providers.by_name["Twilio"].groups[0].addresses) == 8
    assert {p.name for p in providers.providers if p.needs_outbound_proxy} == {"DIDWW", "DIDLogic"}
    assert {p.name for p in providers.providers if not p.is_supported} == {"NFON", "Peoplefone", "Placetel", "Sipgate"}
    severities = {p.name: p.password_severity for p in providers.providers if p.password_severity}
    assert severities == {"Telnyx": "high", "DIDLogic": "high", "easybell": "medium", "Twilio": "low"}
