"""An account without mistakes: every supported provider, host and group of addresses of the catalog."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import TYPE_CHECKING

from tests.support.frames import day, rows, trunks
from tests.support.stories import PBX, inputs_of
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.enrich.addresses import show_network
from trunk_transforms.enrich.providers import default_providers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.audit.rules.cases import Row
    from trunk_transforms.enrich.providers import Provider

NOW = datetime(2026, 12, 1, tzinfo=UTC)
PROVIDERS = [provider for provider in default_providers().providers if provider.is_supported]


def hosts_of(provider: Provider) -> list[str]:
    """Return every host at which a trunk of the provider can work."""
    patterns = [provider.exact_host] if provider.exact_host else list(provider.hosts)
    patterns += [host for group in provider.host_groups if not group.requires_registration for host in group.hosts]
    patterns += [host for group in provider.groups for host in group.hosts]
    return [] if provider.requires_registration else list(dict.fromkeys(host.replace("*", "x") for host in patterns))


def connections(provider: Provider, host: str) -> Iterator[Row]:
    """Yield each way in which a trunk at this host can be set up."""
    groups = provider.groups_for(host) or [group for group in provider.groups if not group.hosts]
    lists = [networks for group in groups for networks in (group.addresses, group.required, group.known) if networks]
    authorized: list[Row] = [
        {"allowed_inbound_ips": json.dumps([show_network(n) for n in networks])} for networks in lists
    ]
    if provider.supports_inbound_auth and not provider.password_severity:
        authorized += [{"inbound_authorization_type": "auth", "allowed_inbound_ips": None}]
    for calling_format in provider.formats_at(host) or ("+e164", "e164"):
        for allowed in authorized or [{"allowed_inbound_ips": '["8.8.8.8"]'}]:
            yield {
                "sip_address": host,
                "sip_calling_format": calling_format,
                "outbound_proxy": provider.needs_outbound_proxy is True,
                **allowed,
            }


def clean_account(trunk_count: int) -> list[Row]:
    connected = [
        (provider, connection)
        for provider in PROVIDERS
        for host in hosts_of(provider)
        for connection in connections(provider, host)
    ]
    account = []
    for place, (provider, connection) in enumerate(islice(cycle(connected), max(trunk_count, len(connected)))):
        number = f"+4930231{place:05}"
        username = number if provider.assigns_username else f"login-{place}"
        account.append({"id": place, "phone_number": number, "sip_username": username} | connection)
    return account


def test_an_account_with_every_host_and_group_of_the_catalog_has_no_finding() -> None:
    account = clean_account(200)
    assert len(account) >= 200
    found = audit_trunks(trunks(*account), providers=default_providers(), as_of=NOW)
    serious = found[~found["severity"].isin(["info", "low"])]
    assert rows(serious, "trunk_id", "rule", "seen") == []


def test_a_history_without_mistakes_adds_no_finding() -> None:
    account = [PBX | trunk for trunk in clean_account(200)]
    for trunk in account:
        trunk["allowed_inbound_ips"] = json.loads(trunk.get("allowed_inbound_ips") or "null")
    before = [trunk | {"nickname": "old", "allowed_inbound_ips": trunk["allowed_inbound_ips"]} for trunk in account[9:]]
    fewer = [trunk | {"allowed_inbound_ips": (trunk["allowed_inbound_ips"] or [])[:1] or None} for trunk in before]
    told = {0: fewer, 399: before, 399.5: account}
    found = inputs_of({"acme": told}, day(400)).findings
    assert rows(found[~found["severity"].isin(["info", "low"])], "trunk_id", "rule", "seen") == []
    assert set(found["rule"]) >= {"credential-age"}


def test_the_account_is_at_every_provider_that_has_a_host() -> None:
    hosts = {trunk["sip_address"] for trunk in clean_account(200)}
    assert {p.name for p in PROVIDERS if not hosts & set(hosts_of(p))} == {"1&1"}  # needs registration at each host
