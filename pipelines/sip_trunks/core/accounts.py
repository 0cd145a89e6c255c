"""The configured accounts with their tokens, and the key of their pseudonyms."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sip_trunks.core.config_files import ConfigFiles, dig, list_config_dirs
from sip_trunks.core.dlt_runtime import find_secret
from sip_trunks.core.errors import ConfigError, name_some, suggest
from sip_trunks.core.settings import DEFAULT_ACCOUNT, Account, Settings, checked_account

_LEAST_KEY = 16


def pick_accounts(settings: Settings, names: list[str]) -> tuple[Account, ...]:
    """Return the accounts with these names, or all accounts if `names` is empty.

    Raises ConfigError if no token is configured, or if no account has one of the names.
    """
    accounts = settings.accounts
    if not accounts:
        if not (token := find_secret(settings, "sources.famulor.api_token")):
            searched = ", ".join(dict.fromkeys(map(str, list_config_dirs())))
            raise ConfigError(
                "no API token: set FAMULOR_API_KEY, or api_token under [sources.famulor] in "
                f"{_secrets_file(settings)} (folders searched: {searched}); to try it without a token: sip-trunks run "
                "--demo"
            )
        accounts = (checked_account(DEFAULT_ACCOUNT, token),)
    by_name = {account.name: account for account in accounts}
    for name in names:
        if name not in by_name:
            configured = name_some(list(by_name), 20)
            raise ConfigError(f"no account named {name!r}; configured: {configured}{suggest(name, by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(names or by_name))


def find_shared_tokens(accounts: Iterable[Account]) -> list[tuple[str, ...]]:
    """Return the names of accounts that share a token: either one account under two names, or a wrong token."""
    names: dict[str, list[str]] = {}
    for account in accounts:
        names.setdefault(account.token, []).append(account.name)
    return [tuple(found) for found in names.values() if len(found) > 1]


def has_stored_token() -> bool:
    """Whether `secrets.toml` or `config.toml` contains a token. Environment variables are ignored."""
    keys = ("sources.famulor.api_token", "sources.famulor.accounts")
    return any(dig(file, key) for file in ConfigFiles().files.values() for key in keys)


def with_pseudonym_key(settings: Settings) -> Settings:
    """Return the settings with the key of the pseudonyms, or with an empty key if `pseudonymize` is not set.

    Only a run needs the key; stored data is read without it. Raises ConfigError if the key is missing or too short.
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
