"""Rules on settings that make it easy to place calls at the customer's expense."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from trunk_transforms.audit.rules.context import (
    NOTHING,
    AuditContext,
    Findings,
    Verdict,
    as_findings,
    combine,
    map_distinct,
    name_others,
)
from trunk_transforms.audit.rules.rule import API_DOCUMENTATION, PROVIDER_CATALOG, rule
from trunk_transforms.audit.rules.wording import allow_addresses, name_place, quote_own
from trunk_transforms.enrich.numbers import as_flags, as_text, normalize_numbers
from trunk_transforms.enrich.providers import Provider

_FEWEST_SHARING = 3
# fmt: off
_DEFAULT_USERNAMES = (
    "100", "1234", "123456", "admin", "administrator", "anonymous", "asterisk", "cisco", "default", "demo", "freepbx",
    "freeswitch", "guest", "operator", "pbx", "phone", "root", "sip", "sipuser", "support", "test", "test1", "tester",
    "testuser", "trunk", "trunk1", "user", "user1", "username", "voip",
)
# fmt: on


@rule(
    "exposure-password",
    severity="high",
    question="Which trunks authorize inbound calls by password although the provider sends them from fixed addresses?",
    why="A password can be guessed or leaked from anywhere in the world; an address cannot.",
    fix='set inbound_authorization_type to "ip" and allow the provider\'s addresses',
    source=f"{PROVIDER_CATALOG}; the vendor recommends allowlists",
    yields_to=("exposure-username-blank",),
)
def check_password(context: AuditContext) -> Findings:
    """Find password authorization at providers with a severity for it; inbound-auth-unsupported is worse."""

    def decide(provider: Provider, host: str) -> Verdict | None:
        if provider.password_severity is None or not provider.supports_inbound_auth:
            return None
        seen = f"authorized by password, but {provider.name} sends calls from fixed addresses"
        fix = allow_addresses(provider, host)
        return context.date(Verdict(seen, fix, provider.password_severity, cause=seen), provider.as_of)

    is_password = context.trunks["inbound_authorization_type"] == "auth"
    return context.decide(["provider", "host"], decide, is_password & context.trunks["is_provider_known"])


@rule(
    "exposure-username-blank",
    severity="critical",
    question="Which trunks need a username but have none?",
    why="If the username is blank, LiveKit asks inbound callers for no password, so anyone can place calls (inferred). "
    "For outbound calls, the server must trust an address, or every caller.",
    fix="set sip_username and a password",
    source=f"{API_DOCUMENTATION}; inferred from LiveKit, which the platform runs on (livekit/sip, inbound.go)",
    yields_to=("provider-outbound-proxy",),
)
def check_username_blank(context: AuditContext) -> Findings:
    """Find blank usernames: critical if they authorize inbound calls, medium if they authorize only outbound calls.

    A trunk needs no username for outbound calls if the outbound proxy is on, because the server can recognize the
    platform by its address, or if it has no host, because it places no calls. The fix is a password only where the
    provider can send one.
    """

    def decide(
        provider: Provider | None, authorization: str | None, proxy: bool | None, host: str | None
    ) -> Verdict | None:
        if authorization == "auth":
            seen = "inbound calls are authorized by password, but there is no username, so every source is admitted"
            fix = allow_addresses(provider, host) if provider and host and not provider.recommends_password else None
            return Verdict(f"{seen} (inferred)", fix, cause=f"blank usernames for inbound calls {name_place(host)}")
        if proxy is False and host is not None:
            return Verdict(
                "outbound calls come without a username and, as the outbound proxy is off, from changing addresses",
                "set sip_username and a password, or switch outbound_proxy on and allow its address at the server",
                "medium",
                f"blank usernames for outbound calls {name_place(host)}",
            )
        return None

    is_blank = context.trunks["sip_username"].isna() & ~context.is_unreadable("sip_username")
    return context.decide(["provider", "inbound_authorization_type", "outbound_proxy", "host"], decide, is_blank)


@rule(
    "exposure-username-number",
    severity="medium",
    question="Which usernames are the trunk's own number?",
    why="The number is public, and scanners try it first. Only the password is left to guess.",
    fix="choose a username that cannot be guessed (this re-creates both legs: a short outage)",
    source="comparison of the two",
    # A misspelled host hides that the provider assigns the username.
    yields_to=("host-malformed",),
)
def check_username_number(context: AuditContext) -> Findings:
    """Find usernames that are the number, or have its digits with or without +, unless the provider assigns them.

    The digits are those that are written, or those of the number in E.164.
    """
    names = normalize_numbers(as_text(context.trunks["sip_username"]))
    written, read = (as_text(context.trunks[name]) for name in ("normalized_number", "e164"))
    names, written, read = (pc.utf8_ltrim(text, "+") for text in (names, written, read))
    # Extensions without digits, such as "reception", are compared as written.
    is_same = (context.trunks["sip_username"] == context.trunks["phone_number"]).to_numpy(dtype=bool)
    assigning = [provider.name for provider in context.providers.providers if provider.assigns_username]
    is_chosen = ~context.trunks["provider"].isin(assigning)
    has_digits = as_flags(pc.equal(names, written)) | as_flags(pc.equal(names, read))
    found = context.trunks.loc[is_chosen & (is_same | has_digits)]
    cause = "usernames that are the number " + map_distinct(found["host"].fillna(""), name_place)
    return as_findings(pd.Series("sip_username is the number itself", index=found.index), cause=cause)


@rule(
    "exposure-username-default",
    severity="high",
    question="Which usernames are common defaults?",
    why="Scanners try these around the clock. Only the password is left to guess.",
    fix="choose a username that cannot be guessed (this re-creates both legs: a short outage)",
    source="a list of the defaults of common PBXs and scanners",
)
def check_username_default(context: AuditContext) -> Findings:
    """Find common default usernames, regardless of case."""
    names = context.trunks["sip_username"]
    is_default = names.str.lower().isin(_DEFAULT_USERNAMES) & (names != context.trunks["phone_number"])
    return as_findings("sip_username is " + quote_own(names[is_default]))


@rule(
    "exposure-shared-credential",
    severity="low",
    question="Which usernames are on three or more trunks at the same host?",
    why="One password opens all of these trunks, and it cannot be changed for one of them alone.",
    fix="give each trunk its own username and password, where the provider allows it",
    source="comparison of the account's trunks",
    yields_to=("duplicate-trunk", "exposure-username-default", "username-length"),
)
def check_shared_credential(context: AuditContext) -> Findings:
    """Find usernames that three or more trunks of the account have at a host."""
    trunks = context.trunks
    credentials = combine(trunks["account"], trunks["sip_username"], trunks["host"])
    is_shared = (np.bincount(credentials)[credentials] >= _FEWEST_SHARING) & trunks["sip_username"].notna()
    others = name_others(trunks, credentials.where(is_shared), trunks.index.to_series())
    if others.empty:
        return NOTHING
    place = map_distinct(trunks["host"].loc[others.index].fillna(""), name_place)
    credential = "the username " + quote_own(trunks["sip_username"].loc[others.index]) + " " + place
    return as_findings("same username at the same host as trunk " + others, cause=credential)
