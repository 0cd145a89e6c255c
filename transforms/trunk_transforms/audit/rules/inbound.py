"""Rules on how inbound calls reach a trunk."""

from __future__ import annotations

from trunk_transforms.audit.rules.context import AuditContext, Findings, Verdict
from trunk_transforms.audit.rules.rule import PROVIDER_CATALOG, rule
from trunk_transforms.audit.rules.wording import allow_addresses
from trunk_transforms.enrich.providers import Provider


@rule(
    "inbound-auth-unsupported",
    severity="high",
    question="Which trunks authorize inbound calls by password although their provider cannot send one?",
    why="Every inbound call is rejected, because it comes without username and password.",
    fix='set inbound_authorization_type to "ip" and allow the provider\'s addresses',
    source=f"{PROVIDER_CATALOG}; LiveKit's documentation",
)
def check_auth_unsupported(context: AuditContext) -> Findings:
    """Find password authorization at providers that do not support it for inbound calls."""

    def decide(provider: Provider, host: str) -> Verdict | None:
        if provider.supports_inbound_auth:
            return None
        seen = f"authorized by password, {provider.name} sends inbound calls without one"
        return context.date(Verdict(seen, allow_addresses(provider, host)), provider.as_of)

    is_password = context.trunks["inbound_authorization_type"] == "auth"
    return context.decide(["provider", "host"], decide, is_password & context.trunks["is_provider_known"])
