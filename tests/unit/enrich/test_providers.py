"""The provider of a host, and the provider catalog."""

from __future__ import annotations

from datetime import date
from ipaddress import ip_network

import pandas as pd
import pytest

from trunk_transforms.enrich.providers import default_providers, derive_provider, is_old, read_providers


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
        *((f"sip.telnyx.{end}", "Telnyx") for end in ("eu", "com.au", "ca", "asia")),
        *((f"acme.pstn.{place}.twilio.com", "Twilio") for place in ("ashburn", "sao-paulo", "us1", "de1-ix")),
        *((f"{region}.out.didww.com", "DIDWW") for region in ("nyc.us", "fra.eu", "sg")),
        ("didlogic.net", "DIDLogic"),
        *((f"{name}.easybell.de", "easybell") for name in ("sip", "secure.sip", "pbx", "secure.pbx")),
        *((f"{name}.easybell.{end}", "easybell") for name in ("voip", "sip", "pbx") for end in ("ch", "at")),
        ("pstn.sinch.com", "Sinch"),
        *((f"{name}.vonage.com", "Vonage") for name in ("sip-us", "sip-eu", "acme.sip-ap")),
        ("sip.nexmo.com", "Vonage"),
        ("acme.nfon.net", "NFON"),
        ("acme.cloud-cfg.com", "NFON"),
        ("acme.fpbx.de", "Placetel"),
        ("reg.sip-trunk.telekom.de", "Deutsche Telekom"),
        ("stat.sip-trunk.telekom.de", "Deutsche Telekom"),
        ("tel.t-online.de", "Deutsche Telekom"),
        ("sip.1und1.de", "1&1"),
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


@pytest.mark.parametrize(
    "address", ["sip.telnyx.us", "twilio.com", "acme.pstn.a.b.twilio.com", "easybell.de", "telekom.de", "1und1.de"]
)
def test_other_hosts_of_a_company_are_not_its_trunks(address: str) -> None:
    assert provider_of(address) == ["unknown"]


@pytest.mark.parametrize(
    ("day", "moment", "expected"),
    [
        (date(2026, 6, 1), date(2027, 6, 1), False),
        (date(2026, 6, 1), date(2027, 6, 2), True),
        (date(2026, 6, 30), date(2027, 7, 1), True),
        (date(2024, 2, 29), date(2025, 2, 28), False),
        (date(2026, 6, 1), date(2026, 1, 1), False),
        (date(2026, 6, 1), date(2036, 1, 1), True),
    ],
)
def test_a_fact_is_old_after_a_year(day: date, moment: date, expected: bool) -> None:
    assert is_old(day, moment) is expected


@pytest.mark.parametrize(
    ("network", "provider", "expected"),
    [
        ("185.45.152.0/24", None, True),
        ("185.45.154.0/23", None, True),  # two networks of Zadarma, side by side
        ("185.45.152.0/22", "Zadarma", False),
        ("216.147.3.2/32", "Vonage", True),
        ("2a01:ad00:4:14::14/128", None, True),
        ("3.80.16.0/22", "Amazon Chime", True),
        ("3.80.16.0/21", "Amazon Chime", False),
        ("3.80.16.0/22", "Telnyx", False),
        ("2a05:d000::/32", "Amazon Chime", False),
        ("143.223.88.0/21", None, False),  # the platform is not a provider
    ],
)
def test_a_network_is_a_providers_own(network: str, provider: str | None, expected: bool) -> None:
    catalog = default_providers()
    trunk_provider = catalog.by_name[provider] if provider else None
    assert catalog.is_provided(ip_network(network), trunk_provider) is expected


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
            f'{ONE_PROVIDER}[[provider.group]]\nname = "g"\naddresses = ["9.9.9.9"]\nas_of = 1',
            "provider 'Acme', group 'g': as_of: Expected `date | null`, got `int`",
        ),
        (
            f"{ONE_PROVIDER}[[provider.host_group]]\nhosts = []",
            "provider 'Acme', host_group 1: hosts: Expected `array` of length >= 1",
        ),
        (
            f'{ONE_PROVIDER}[[provider.host_group]]\nhosts = ["a.example"]',
            "provider 'Acme', host_group 1: missing required field `as_of`",
        ),
        ('[[platform_group]]\nname = "p"\naddresses = []', "platform_group 'p': addresses is empty"),
        (f"{ONE_PROVIDER}widest_network = 4", "provider 'Acme': widest_network: Expected `int` >= 8"),
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


def test_every_fact_of_the_built_in_catalog_has_a_date_and_a_source() -> None:
    for provider in default_providers().providers:
        assert provider.source
        assert max(provider.dates.values()) <= date(2026, 11, 30)
        assert all(group.source for group in provider.host_groups)
        assert all(bool(group.as_of) == bool(group.source) for group in provider.groups)
    assert all(group.as_of and group.source for group in default_providers().platform_groups)


def test_the_built_in_catalog_is_complete() -> None:
    providers = default_providers()
    assert len(providers.providers) == 22
    assert len(providers.by_name["DIDLogic"].groups) == 15
    assert [len(group.required) for group in providers.by_name["Twilio"].groups] == [8, 4, 4, 4, 4, 4, 4]
    # Addresses of a single source are recognised, but not demanded.
    assert not providers.by_name["Zadarma"].groups_for("sip.zadarma.com")
    assert not providers.by_name["Vonage"].groups_for("sip.nexmo.com")
    assert {p.name for p in providers.providers if p.assigns_username} == {"easybell", "Sipgate"}
    assert {p.name for p in providers.providers if not p.supports_inbound_auth} == {"Twilio"}
    unknown = {p.name for p in providers.providers if p.is_supported and p.needs_outbound_proxy is None}
    assert unknown == {"Sinch", "Deutsche Telekom", "1&1"}
    assert {p.name for p in providers.providers if p.needs_outbound_proxy} == {"DIDWW", "DIDLogic"}
    assert {p.name for p in providers.providers if not p.is_supported} == {"NFON", "Peoplefone", "Placetel", "Sipgate"}
    severities = {p.name: p.password_severity for p in providers.providers if p.password_severity}
    assert severities == {"Telnyx": "high", "DIDLogic": "high", "easybell": "medium"}
