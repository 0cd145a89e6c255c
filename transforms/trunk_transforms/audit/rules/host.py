"""Rules on `sip_address`, for any provider. A blank address is not a fault: inbound-only trunks have none."""

from __future__ import annotations

from collections.abc import Callable

from trunk_transforms.audit.rules.context import AuditContext, Findings, Verdict
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, PROVIDER_CATALOG, SPECIAL_ADDRESSES, rule
from trunk_transforms.audit.rules.wording import quote
from trunk_transforms.enrich.addresses import explain_host, explain_unreachable, find_host, normalize_host, parse_ip


@rule(
    "host-malformed",
    severity="high",
    question="Which trunks have a SIP address that is not just a host?",
    why="The platform expects a host alone. With a scheme, port, path or space, outbound calls find no server.",
    fix="set sip_address to the host alone, such as sip.example.com",
    source=f"{API_DOCUMENTATION}; RFC 1123",
    yields_to=("host-platform", "host-private"),
)
def check_malformed(context: AuditContext) -> Findings:
    """Find addresses that are neither a host name nor an IP address."""

    def decide(address: str) -> Verdict | None:
        fault, host = explain_host(address), find_host(address)
        if fault is None:
            return None
        provider = context.providers.find_provider(host) if host else None
        if provider and host and not provider.takes_calls_at(host):
            host = provider.exact_host
        return Verdict(f"{quote(address)} {fault}", f'set sip_address to "{host}"' if host else None)

    return context.decide(["sip_address"], decide, context.trunks["sip_address"].notna())


@rule(
    "host-platform",
    severity="high",
    question="Which trunks have the platform's own inbound address as their SIP address?",
    why="Outbound calls go to the platform itself instead of the provider.",
    fix="set sip_address to the provider's host",
    source=PROVIDER_CATALOG,
)
def check_platform(context: AuditContext) -> Findings:
    """Find hosts of the platform."""
    is_platform = context.providers.is_platform
    description = "the platform's own inbound address"
    return _find_hosts(context, lambda address: description if is_platform(_read_host(address)) else None)


@rule(
    "host-private",
    severity="high",
    question="Which trunks have a SIP address that cannot be reached from the internet?",
    why="Outbound calls never arrive, because the platform is outside that network.",
    fix="set sip_address to the public host name of the server",
    source=f"{SPECIAL_ADDRESSES}; names that no public DNS has (RFC 2606, RFC 6761, RFC 6762, RFC 7686, RFC 8375)",
)
def check_private(context: AuditContext) -> Findings:
    """Find IP addresses that are not public, and names that no public DNS has."""
    return _find_hosts(context, lambda address: explain_unreachable(_read_host(address)))


@rule(
    "host-ip",
    severity="low",
    question="Which trunks have a bare IP address as their SIP address?",
    why="A host name follows the server when it moves. An address must be changed by hand on every trunk.",
    fix="set sip_address to the server's host name",
    source="good practice",
)
def check_ip(context: AuditContext) -> Findings:
    """Find public IP addresses in place of a host name."""

    def describe(address: str) -> str | None:
        host = normalize_host(address)
        return "a bare IP address" if parse_ip(host) and not explain_unreachable(host) else None

    return _find_hosts(context, describe)


def _find_hosts(context: AuditContext, describe: Callable[[str], str | None]) -> Findings:
    """Return one finding per trunk with a SIP address that `describe` describes."""

    def decide(address: str) -> Verdict | None:
        description = describe(address)
        seen = f"{quote(address)} is {description}"
        return Verdict(seen, cause=f"the host {quote(_read_host(address))}") if description else None

    return context.decide(["sip_address"], decide, context.trunks["sip_address"].notna())


def _read_host(address: str) -> str:
    """Return the host in a SIP address, without a scheme, a port or other additions."""
    return find_host(address) or normalize_host(address)
