"""Which accounts to ask with which tokens, and the key that their pseudonyms are made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sip_trunks.core.config_files import ConfigFiles, dig
from sip_trunks.core.dlt_runtime import find_secret
from sip_trunks.core.errors import ConfigError, name_some
from sip_trunks.core.settings import DEFAULT_ACCOUNT, checked_account

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sip_trunks.core.settings import Account, Settings

_LEAST_KEY = 16


def pick_accounts(settings: Settings, names: list[str]) -> tuple[Account, ...]:
    """Return the accounts of these names, or all of them if there are none.

    Raises ConfigError if no token is configured, or no account has the name.
    """
    accounts = settings.accounts
    if not accounts:
        token = find_secret(settings, "sources.famulor.api_token")
        accounts = (checked_account(DEFAULT_ACCOUNT, token),) if token else ()
    if not accounts:
        raise ConfigError(
            f"no API token: set FAMULOR_API_KEY, or api_token under [sources.famulor] in {_secrets_file(settings)}; "
            "to try it without one: sip-trunks run --demo"
        )
    by_name = {account.name: account for account in accounts}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ConfigError(f"no account named {unknown[0]!r}; configured: {name_some(list(by_name), 20)}")
    return tuple(by_name[name] for name in dict.fromkeys(names)) if names else accounts


def find_shared_tokens(accounts: Iterable[Account]) -> list[tuple[str, ...]]:
    """Return the names that share a token: one account stored twice, or a wrong token."""
    names: dict[str, list[str]] = {}
    for account in accounts:
        names.setdefault(account.token, []).append(account.name)
    return [tuple(found) for found in names.values() if len(found) > 1]


def has_stored_token(settings: Settings) -> bool:
    """Whether the settings files have a token; the environment does not count."""
    keys = ("sources.famulor.api_token", "sources.famulor.accounts")
    return any(dig(file, key) for file in ConfigFiles(settings.config_dir).files for key in keys)


def with_pseudonym_key(settings: Settings) -> Settings:
    """Return the settings with the key of the pseudonyms, or without any key if there are no pseudonyms.

    Only fetching needs the key; what is stored is read without it. Raises ConfigError if it is missing or too short.
    """
    if not settings.pseudonymize:
        return replace(settings, pseudonym_key=b"")
    key = settings.pseudonym_key or (find_secret(settings, "sip_trunks.pseudonym_key") or "").strip().encode()
    if len(key) < _LEAST_KEY:
        raise ConfigError(
            f"sip_trunks.pseudonymize needs a key of at least {_LEAST_KEY} characters: sip_trunks.pseudonym_key in "
            f"{_secrets_file(settings)}, or SIP_TRUNKS__PSEUDONYM_KEY; to make one: openssl rand -hex 32"
        )
    return replace(settings, pseudonym_key=key)


def _secrets_file(settings: Settings) -> Path:
    return (settings.config_dir or Path(".dlt")) / "secrets.toml"
