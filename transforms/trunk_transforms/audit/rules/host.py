"""Rules on `sip_address`, for any provider. A blank address is not a fault: inbound-only trunks have none."""

from __future__ import annotations

from collections.abc import Callable

from trunk_transforms.audit.rules.context import AuditContext, Findings, Verdict
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, PROVIDER_CATALOG, SPECIAL_ADDRESSES, rule
from trunk_transforms.audit.rules.wording import quote
from trunk_transforms.enrich.addresses import classify_entry, explain_host, find_host, parse_ip


@rule(
    "host-malformed",
    severity="high",
    question="Which trunks have a SIP address that is not just a host?",
    why="The platform expects only a host: with a scheme, a port, a path or spaces, outbound calls find no server.",
    fix="set sip_address to the host alone, such as sip.example.com",
    source=f"{API_DOCUMENTATION}; RFC 1123",
)
def check_malformed(context: AuditContext) -> Findings:
    """Find addresses that are neither a host name with a domain nor an IP address."""

    def decide(address: str) -> Verdict | None:
        fault = explain_host(address)
        host = find_host(address) if fault else None
        return Verdict(f"{quote(address)} {fault}", f'set sip_address to "{host}"' if host else None) if fault else None

    return context.decide(["sip_address"], decide, context.trunks["sip_address"].notna())


@rule(
    "host-platform",
    severity="high",
    question="Which trunks have the platform's own inbound address as their SIP address?",
    why="Outbound calls are sent to the platform itself instead of to the provider.",
    fix="set sip_address to the provider's host",
    source=PROVIDER_CATALOG,
)
def check_platform(context: AuditContext) -> Findings:
    """Find hosts of the platform."""
    is_platform = context.providers.is_platform
    return _find_hosts(context, lambda host: "the platform's own inbound address" if is_platform(host) else None)


@rule(
    "host-private",
    severity="high",
    question="Which trunks have a SIP address that cannot be reached from the internet?",
    why="Outbound calls never arrive: the platform is outside that network.",
    fix="set sip_address to the public name of the server",
    source=SPECIAL_ADDRESSES,
)
def check_private(context: AuditContext) -> Findings:
    """Find IP addresses that are not public."""

    def describe(host: str) -> str | None:
        kind = _kind(host)
        return f"a {kind} address" if kind not in (None, "public") else None

    return _find_hosts(context, describe)


@rule(
    "host-ip",
    severity="low",
    question="Which trunks have a bare IP address as their SIP address?",
    why="When the server moves, a name moves with it; an address has to be changed by hand in every trunk.",
    fix="set sip_address to the server's name",
    source="good practice",
)
def check_ip(context: AuditContext) -> Findings:
    """Find public IP addresses in place of a host name."""
    return _find_hosts(context, lambda host: "a bare IP address" if _kind(host) == "public" else None)


def _find_hosts(context: AuditContext, describe: Callable[[str], str | None]) -> Findings:
    """Return one finding per trunk with a host that `describe` describes."""

    def decide(host: str) -> Verdict | None:
        description = describe(host)
        return Verdict(f"{quote(host)} is {description}") if description else None

    return context.decide(["host"], decide, context.trunks["host"].notna())


def _kind(host: str) -> str | None:
    """Return the kind of an IP address; None for a host name."""
    network = parse_ip(host)
    return classify_entry(str(network)).kind if network else None
