"""The provider of a host, and the provider catalog."""

from __future__ import annotations

from datetime import date
from ipaddress import ip_network

import pandas as pd
import pytest

from trunk_transforms.enrich.providers import default_providers, derive_provider, read_providers


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


def test_a_catalog_edited_by_an_operator_is_read() -> None:
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
        ("name=", "not valid TOML: Invalid value (at end of document)"),
        ("provider = 1", "the file: provider: Expected `array`, got `int`"),
        ("providers = []", "the file: contains unknown field `providers`"),
        ("[[provider]]", "provider 1: missing required field `name`"),
        ('[[provider]]\nname = "A"', "provider 'A': missing required field `as_of`"),
        ('[[provider]]\nname = "A"\nas_of = "June"', "provider 'A': as_of: Invalid RFC3339 encoded date"),
        (
            '[[provider]]\nname = "A"\nas_of = 2026-01-02T10:00:00',
            "provider 'A': as_of: Expected `date`, got `datetime`",
        ),
        ('[[provider]]\nname = "A"\nas_of = 2026-01-02', "provider 'A': missing required field `hosts`"),
        ('[[provider]]\nname = " "', "provider ' ': name: Expected text matching '\\\\S'"),
        (
            ONE_PROVIDER.replace("Acme", "unknown"),
            "the file: 'unknown' is reserved for hosts that the catalog does not list",
        ),
        (ONE_PROVIDER * 2, "the file: 2 providers are named 'Acme'"),
        (
            f'{ONE_PROVIDER}calling_format = "E164"',
            "provider 'Acme': calling_format: Expected text matching '^(\\\\+e164|e164|national)$'",
        ),
        (
            f'{ONE_PROVIDER}password_severity = "bad"',
            "provider 'Acme': password_severity: Expected text matching '^(low|medium|high)$'",
        ),
        (f"{ONE_PROVIDER}is_supported = 1", "provider 'Acme': is_supported: Expected `bool`, got `int`"),
        (f"{ONE_PROVIDER}[[provider.group]]", "provider 'Acme', group 1: missing required field `name`"),
        (
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"',
            "provider 'Acme', group 'g': missing required field `addresses`",
        ),
        (
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"\naddresses = []',
            "provider 'Acme', group 'g': addresses is empty",
        ),
        (
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"\naddresses = ["8.8.8"]',
            "provider 'Acme', group 'g': addresses: '8.8.8' is not an IP address",
        ),
        (
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"\naddresses = [1]',
            "provider 'Acme', group 'g': addresses: '1' is not an IP address",
        ),
        (
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"\naddresses = "8.8.8.8"',
            "provider 'Acme', group 'g': addresses: Expected `array`",
        ),
    ],
)
def test_an_invalid_catalog_is_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_providers(text)
    assert str(refused.value) == problem


def test_the_built_in_catalog_is_complete() -> None:
    providers = default_providers()
    assert len(providers.providers) == 20
    assert len(providers.by_name["DIDLogic"].groups) == 15
    assert len(providers.by_name["Twilio"].groups[0].addresses) == 8
    assert {p.name for p in providers.providers if p.needs_outbound_proxy} == {"DIDWW", "DIDLogic"}
    assert {p.name for p in providers.providers if not p.is_supported} == {"NFON", "Peoplefone", "Placetel", "Sipgate"}
    severities = {p.name: p.password_severity for p in providers.providers if p.password_severity}
    assert severities == {"Telnyx": "high", "DIDLogic": "high", "easybell": "medium", "Twilio": "low"}
