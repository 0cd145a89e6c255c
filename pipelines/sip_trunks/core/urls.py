"""The URLs in the settings: the base URL of the API, which receives the token, and the URL of the webhook."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

from sip_trunks.core.errors import ConfigError

PLATFORM_2 = "this is Platform 2.0; sip-trunks reads the classic API, with the token of a classic account"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_base_url(key: str, text: str) -> str:
    """Return the base URL of the API. Raises ConfigError, as `check_api_url` does and unless the path ends in /api."""
    parts = check_api_url(key, text)
    path = parts.path.rstrip("/")
    if not path.endswith("/api"):
        before = path.partition("/api/")[0].partition("/user/")[0].removesuffix("/user")
        wanted = _address(parts, f"{before}/api")
        raise ConfigError(f"{key} is {_address(parts, parts.path)}; it should end in /api: {wanted}")
    return text


def check_api_url(key: str, text: str) -> SplitResult:
    """Return the parts of a URL of the API.

    Raises ConfigError, which names `key`, unless the URL may receive the token: https, or http to this machine, without
    a user, a query and a fragment, and not of Platform 2.0.
    """
    parts = _split(text.strip())
    if parts is None:
        raise ConfigError(f"{key} must be a URL such as https://host/path")
    shown = _address(parts, parts.path)
    if not _is_safe(parts):
        raise ConfigError(f"{key} must be a URL such as https://host/path (http only for this machine), got {shown!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{key} must not contain a user, password, query or fragment")
    if f".{parts.hostname}".endswith(".famulor.io") or "/api/v1/" in f"{parts.path}/":
        raise ConfigError(f"{key} is {shown}: {PLATFORM_2}")
    return parts


def check_webhook_url(key: str, text: str) -> str:
    """Return the URL. Raises ConfigError, without the secret URL, unless it is https, or http to this machine."""
    parts = _split(text)
    if parts is None or not _is_safe(parts) or parts.username or parts.password:
        raise ConfigError(
            f"{key} must be a URL such as https://host/path, without user and password (http is allowed only for this "
            "machine)"
        )
    return text


def _split(text: str) -> SplitResult | None:
    """Return the parts of a URL, or None if it is malformed."""
    if re.search(r"\s", text):
        return None
    try:
        parts = urlsplit(text)
        is_named = bool((parts.hostname or "x").encode("idna")) and parts.port != 0
    except ValueError:
        return None
    return parts if is_named else None


def _is_safe(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _address(parts: SplitResult, path: str) -> str:
    """Return the URL with another path, and without a user, a password and a query."""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))
