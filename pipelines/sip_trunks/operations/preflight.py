"""The preflight checks: settings, tokens, API, data directory, disk, one line each."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from sip_trunks.core.accounts import find_shared_tokens, pick_accounts, with_pseudonym_key
from sip_trunks.core.errors import (
    DestinationError,
    SipTrunksError,
    UsageError,
    describe_error,
    exit_code_of,
    name_some,
)
from sip_trunks.core.settings import find_unknown_settings, prepare_state_dir
from sip_trunks.destinations import open_destination
from sip_trunks.famulor.client import RawSnapshot
from sip_trunks.famulor.fetch_many import fetching
from sip_trunks.operations.monitoring.webhook import check_address
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.famulor.fetch_many import Result

_LEAST_FREE_BYTES = 100 * 2**20
_MOST_ACCOUNTS = 10


def check(settings: Settings) -> int:
    """Print one line per check and return the exit code of the first that fails; nothing is stored.

    Of many accounts, only those that fail have a line of their own.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("settings", partial(_check_settings, settings)),
        ("data", partial(_check_data_dir, settings)),
        ("disk", partial(_check_disk, settings)),
    ]
    if settings.pseudonymize:
        checks.insert(1, ("pseudonyms", partial(_check_pseudonyms, settings)))
    if settings.notify:
        checks.insert(1, ("notify", partial(_check_notify, settings)))
    accounts: tuple[Account, ...] = ()
    try:
        accounts = pick_accounts(settings, [])
    except SipTrunksError as error:
        checks.append(("token", partial(_fail, error)))
    else:
        if len(accounts) > 1:
            checks.append(("tokens", partial(_check_tokens, accounts)))
    codes = [_report(name, perform) for name, perform in checks]
    # Values that a run would not write to a disk are not spooled here either, whatever the key.
    secret = b"check" if settings.pseudonymize else None
    with fetching(accounts, settings.api, secret=secret) as results:
        for account, result in results:
            perform = partial(_check_account, settings, result)
            codes.append(_report(f"account {account.name}", perform, is_quiet=len(accounts) > _MOST_ACCOUNTS))
    if len(accounts) > _MOST_ACCOUNTS:
        print(f"ok    accounts: {codes[-len(accounts) :].count(0)} of {len(accounts)} tokens accepted")
    return next(filter(None, codes), 0)


def _report(name: str, perform: Callable[[], str], *, is_quiet: bool = False) -> int:
    """Perform a check, print its result, unless that is good and `is_quiet`, and return its exit code."""
    try:
        found = perform()
    except (SipTrunksError, InvalidResponseError, OSError) as error:
        print(f"FAIL  {name}: {describe_error(error)}")
        return exit_code_of(error)
    if not is_quiet:
        print(f"ok    {name}: {found}")
    return 0


def _fail(error: SipTrunksError) -> str:
    raise error


def _check_settings(settings: Settings) -> str:
    unknown = find_unknown_settings(settings)
    if unknown:
        raise UsageError(f"there is no setting {', '.join(unknown)}; .dlt/config.toml lists those there are")
    from sip_trunks.reporting.inputs import read_options

    read_options(settings)
    return str(settings.config_dir or "no .dlt folder; environment and defaults")


def _check_pseudonyms(settings: Settings) -> str:
    with_pseudonym_key(settings)
    return f"{' and '.join(settings.pseudonymize)} will be replaced; the key is set"


def _check_notify(settings: Settings) -> str:
    check_address(settings)
    return f"a webhook will be notified of {', '.join(settings.notify_on) or 'nothing'}"


def _check_data_dir(settings: Settings) -> str:
    prepare_state_dir(settings)
    with tempfile.TemporaryFile(dir=settings.data_dir):
        pass
    destination = open_destination(settings)
    if destination.exists():
        with destination.reading(()):
            pass
    return f"{settings.data_dir} can be written"


def _check_disk(settings: Settings) -> str:
    destination = open_destination(settings)
    needed = max(_LEAST_FREE_BYTES, destination.needed_bytes())
    free = {folder: _free_bytes(folder) for folder in (settings.data_dir, *destination.written_folders)}
    for folder, count in free.items():
        if count < needed:
            raise DestinationError(
                f"{count / 1e6:.0f} MB free in {folder}; a run into {destination.location} may need "
                f"{needed / 1e6:.0f} MB"
            )
    return f"{min(free.values()) / 1e9:.1f} GB free"


def _free_bytes(folder: Path) -> int:
    """Return the free space of the disk that has the folder, or will have it."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(existing).free


def _check_tokens(accounts: Sequence[Account]) -> str:
    for names in find_shared_tokens(accounts):
        raise UsageError(f"{name_some(names)} have the same token: give each its own, or remove one")
    return f"{len(accounts)}, all different"


def _check_account(settings: Settings, result: Result) -> str:
    if not isinstance(result, RawSnapshot):
        raise result
    return f"token accepted, {len(result.records or ())} trunks at {settings.api.base_url}"
