"""The preflight checks of settings, tokens, API, data directory and disk, with one line for each check."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

from sip_trunks.core.accounts import find_shared_tokens, pick_accounts, with_pseudonym_key
from sip_trunks.core.errors import DestinationError, SipTrunksError, UsageError, describe_error, exit_code_of, name_some
from sip_trunks.core.settings import Account, Settings, find_unknown_settings, prepare_state_dir
from sip_trunks.destinations import open_destination
from sip_trunks.famulor.client import RawSnapshot
from sip_trunks.famulor.fetch_many import Result, fetching
from sip_trunks.operations.monitoring.webhook import check_address
from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.schema.resources import TRUNKS

_LEAST_FREE_BYTES = 100 * 2**20
_MOST_ACCOUNTS = 10


def check(settings: Settings) -> int:
    """Print one line per check and return the exit code of the first that fails; nothing is stored.

    If there are many accounts, only the failing ones have a line.
    """
    checks: dict[str, Callable[[Settings], str]] = {"settings": _check_settings}
    if settings.notify:
        checks["notify"] = _check_notify
    if settings.pseudonymize:
        checks["pseudonyms"] = _check_pseudonyms
    checks |= {"data": _check_data_dir, "disk": _check_disk}
    codes = [_report(name, partial(perform, settings)) for name, perform in checks.items()]
    accounts: tuple[Account, ...] = ()
    try:
        accounts = pick_accounts(settings, [])
    except SipTrunksError as error:
        codes.append(_report_error("token", error))
    if len(accounts) > 1:
        codes.append(_report("tokens", partial(_check_tokens, accounts)))
    # A run with pseudonyms does not spool responses to the disk, so this check does not either; any key will do.
    secret = b"check" if settings.pseudonymize else None
    with fetching(accounts, settings.api, secret=secret) as results:
        for account, result in results:
            perform = partial(_check_account, settings, result)
            codes.append(_report(f"account {account.name}", perform, is_quiet=len(accounts) > _MOST_ACCOUNTS))
    if len(accounts) > _MOST_ACCOUNTS:
        print(f"ok    accounts: {codes[-len(accounts) :].count(0)} of {len(accounts)} tokens accepted")
    return next(filter(None, codes), 0)


def _report(name: str, perform: Callable[[], str], *, is_quiet: bool = False) -> int:
    """Perform a check, print its result, and return its exit code; with `is_quiet`, print only failures."""
    try:
        found = perform()
    except (SipTrunksError, InvalidResponseError, OSError) as error:
        return _report_error(name, error)
    if not is_quiet:
        print(f"ok    {name}: {found}")
    return 0


def _report_error(name: str, error: Exception) -> int:
    print(f"FAIL  {name}: {describe_error(error)}")
    return exit_code_of(error)


def _check_settings(settings: Settings) -> str:
    if unknown := find_unknown_settings(settings):
        raise UsageError(f"unknown settings: {', '.join(unknown)}; .dlt/config.toml lists all settings")
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
    free: list[int] = []
    for folder in (settings.data_dir, *destination.written_folders):
        # A run creates the folder on the disk of its first existing parent.
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free.append(shutil.disk_usage(existing).free)
        if free[-1] < needed:
            raise DestinationError(
                f"{free[-1] / 1e6:.0f} MB free in {folder}; a run into {destination.location} may need "
                f"{needed / 1e6:.0f} MB"
            )
    return f"{min(free) / 1e9:.1f} GB free"


def _check_tokens(accounts: Sequence[Account]) -> str:
    for names in find_shared_tokens(accounts):
        raise UsageError(f"{name_some(names)} have the same token: give each its own, or remove one")
    return f"{len(accounts)}, all different"


def _check_account(settings: Settings, result: Result) -> str:
    if not isinstance(result, RawSnapshot):
        raise result
    trunks = result.records[TRUNKS] if result.records else ()
    return f"token accepted, {len(trunks)} trunks at {settings.api.base_url}"
