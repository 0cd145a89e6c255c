"""Rules on `sip_address`, whosever host it is. A blank one is none: inbound-only trunks have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunk_transforms.audit.rules.context import Verdict
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import quote
from trunk_transforms.enrich.addresses import classify_entry, explain_host, find_host, parse_ip

if TYPE_CHECKING:
    import pandas as pd

    from trunk_transforms.audit.rules.context import AuditContext


@rule(
    "host-malformed",
    severity="high",
    question="Which trunks have a SIP address that is not just a host?",
    why="The platform wants a host alone: with a scheme, a port, a path or spaces, outbound calls find no server.",
    fix="set sip_address to the host alone, such as sip.example.com",
    source="the vendor's API documentation, June 2026; RFC 1123",
)
def check_malformed(context: AuditContext) -> pd.DataFrame:
    """Find addresses that are neither a host name with a domain nor an IP address."""

    def decide(address: str | None) -> Verdict | None:
        fault = explain_host(address) if address else None
        if not address or not fault:
            return None
        host = find_host(address)
        return Verdict(f"{quote(address)} {fault}", f'set sip_address to "{host}"' if host else None)

    return context.decide(["sip_address"], decide)


@rule(
    "host-platform",
    severity="high",
    question="Which trunks have the platform's own inbound address as their SIP address?",
    why="Outbound calls are sent to the platform itself instead of to the provider.",
    fix="set sip_address to the provider's host",
    source="the provider catalog (providers.toml)",
)
def check_platform(context: AuditContext) -> pd.DataFrame:
    """Find hosts that are the platform's."""

    def decide(host: str | None) -> Verdict | None:
        is_platform = host is not None and context.providers.is_platform(host)
        return Verdict(f"{quote(host or '')} is the platform's own inbound address") if is_platform else None

    return context.decide(["host"], decide)


@rule(
    "host-private",
    severity="high",
    question="Which trunks have a SIP address that cannot be reached from the internet?",
    why="Outbound calls never arrive: the platform is outside of that network.",
    fix="set sip_address to the public name of the server",
    source="IANA's registries of special-purpose addresses (RFC 6890)",
)
def check_private(context: AuditContext) -> pd.DataFrame:
    """Find IP addresses that are not public."""

    def decide(host: str | None) -> Verdict | None:
        network = parse_ip(host) if host else None
        kind = classify_entry(str(network)).kind if network else "public"
        return None if kind == "public" else Verdict(f"{quote(host or '')} is a {kind} address")

    return context.decide(["host"], decide)


@rule(
    "host-ip",
    severity="low",
    question="Which trunks have a bare IP address as their SIP address?",
    why="When the server moves, a name moves with it; an address has to be changed by hand in every trunk.",
    fix="set sip_address to the server's name",
    source="good practice",
)
def check_ip(context: AuditContext) -> pd.DataFrame:
    """Find public IP addresses in place of a host name."""

    def decide(host: str | None) -> Verdict | None:
        network = parse_ip(host) if host else None
        is_public = network is not None and classify_entry(str(network)).kind == "public"
        return Verdict(f"{quote(host or '')} is a bare IP address") if is_public else None

    return context.decide(["host"], decide)


RULES = (
    check_malformed,
    check_platform,
    check_private,
    check_ip,
)
