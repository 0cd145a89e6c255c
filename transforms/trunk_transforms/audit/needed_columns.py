"""The columns without which rules on the current state find nothing. It imports nothing heavy: every run uses it."""

from __future__ import annotations

from collections.abc import Iterable

_ALLOWLIST = ("invalid", "open", "wide", "private", "reserved", "duplicate", "unused", "platform", "outlier", "shared")
_PROVIDER = ("ips-missing", "ips-other", "calling-format", "host", "outbound-proxy", "unsupported", "registration")
RULES_WITHOUT = {
    "phone_number": (
        *(f"number-{name}" for name in ("malformed", "too-long", "invalid", "without-plus", "country")),
        *(f"duplicate-{name}" for name in ("trunk", "number", "across-accounts")),
        *("inbound-number-conflict", "exposure-username-number"),
    ),
    "sip_username": (
        *(f"exposure-{name}" for name in ("username-number", "username-default", "shared-credential")),
        *("proxy-unneeded", "username-length"),
        *("allowlist-unused", "exposure-password", "inbound-auth-unsupported"),
    ),
    "sip_address": (
        *(f"provider-{name}" for name in _PROVIDER),
        *(f"host-{name}" for name in ("malformed", "platform", "private", "ip")),
        *("allowlist-outlier", "proxy-unneeded", "inbound-auth-unsupported", "exposure-password"),
        *("format-outlier", "format-national-countries"),
    ),
    "sip_calling_format": ("provider-calling-format", "format-outlier", "format-national-countries"),
    "inbound_authorization_type": (
        *(f"allowlist-{name}" for name in ("empty", "invalid", "unused", "outlier")),
        *("provider-ips-missing", "provider-ips-other", "inbound-auth-unsupported", "exposure-password"),
    ),
    "allowed_inbound_ips": (
        *(f"allowlist-{name}" for name in _ALLOWLIST),
        *("provider-ips-missing", "provider-ips-other"),
    ),
    "outbound_proxy": ("provider-outbound-proxy", "proxy-unneeded"),
    "country_code": ("number-country", "format-national-countries"),
}
"""The codes of the rules that find nothing if no trunk has the column."""


def list_blind_rules(missing: Iterable[str]) -> list[str]:
    """Return the codes of the rules that find nothing without these columns, each once."""
    return list(dict.fromkeys(code for column in missing for code in RULES_WITHOUT.get(column, ())))
