"""The preflight: checks of settings, tokens, API, data directory and disk, and of what the next run would refuse."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import duckdb

from sip_trunks.core.accounts import find_shared_tokens, pick_accounts, with_pseudonym_key
from sip_trunks.core.errors import DestinationError, SipTrunksError, UsageError, describe_error, exit_code_of, name_some
from sip_trunks.core.settings import Account, Settings, prepare_state_dir
from sip_trunks.destinations import open_destination
from sip_trunks.run.extract import RunContext, extract_snapshots
from sip_trunks.warehouse import state
from trunk_transforms import schema

T = TypeVar("T")

_LEAST_FREE_BYTES = 100 * 2**20
_MOST_ACCOUNTS = 10


@dataclass(frozen=True)
class Check:
    """The result of one check: what was found, and the exit code that a run would have, 0 if nothing is wrong."""

    check: str
    detail: str
    exit_code: int = 0

    def __str__(self) -> str:
        return f"{'FAIL ' if self.exit_code else 'ok   '} {self.check}: {self.detail}"


def perform_checks(settings: Settings) -> Iterator[Check]:
    """Yield the result of each check; nothing is stored. If there are many accounts, only the failing ones are shown.

    The snapshots are requested and validated as a run does it, against what is stored.
    """
    yield _perform("settings", _check_settings, settings)
    if settings.notify:
        yield Check("notify", f"a webhook will be notified of {', '.join(settings.notify_on) or 'nothing'}")
    if settings.pseudonymize:
        yield _perform("pseudonyms", _check_pseudonyms, settings)
    yield _perform("data", _check_data_dir, settings)
    yield _perform("disk", _check_disk, settings)
    try:
        accounts = pick_accounts(settings, [])
    except SipTrunksError as error:
        yield _failure("token", error)
        return
    if len(accounts) > 1:
        yield _perform("tokens", _check_tokens, accounts)
    try:
        yield from _check_accounts(settings, accounts)
    except SipTrunksError as error:
        yield _failure("accounts", error)


def _perform(name: str, perform: Callable[[T], str], subject: T) -> Check:
    try:
        return Check(name, perform(subject))
    except (SipTrunksError, OSError) as error:
        return _failure(name, error)


def _failure(name: str, error: Exception) -> Check:
    return Check(name, describe_error(error), exit_code_of(error))


def _check_settings(settings: Settings) -> str:
    from sip_trunks.reporting.inputs import read_options

    read_options(settings)
    return str(settings.config_dir or "no .dlt folder; using environment variables and defaults")


def _check_pseudonyms(settings: Settings) -> str:
    with_pseudonym_key(settings)
    return f"{' and '.join(settings.pseudonymize)} will be replaced; the key is set"


def _check_data_dir(settings: Settings) -> str:
    prepare_state_dir(settings)
    try:
        with tempfile.TemporaryFile(dir=settings.data_dir):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(settings.data_dir)) from None
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


def _check_accounts(settings: Settings, accounts: Sequence[Account]) -> Iterator[Check]:
    """Yield one check per account: whether the next run would load its response."""
    destination, stored = open_destination(settings), {}
    try:
        settings = with_pseudonym_key(settings)
    except UsageError:
        # That is another check. A run with a key does not spool responses to the disk, so this does not either.
        settings = replace(settings, pseudonymize=(), pseudonym_key=b"check")
    with ExitStack() as stack:
        connection = stack.enter_context(duckdb.connect())
        # What cannot be read is another check.
        with suppress(SipTrunksError, OSError, duckdb.Error):
            if settings.pseudonym_key != b"check" and destination.exists():
                connection = stack.enter_context(destination.reading([table.name for table in schema.TABLES]))
                stored = state.read_stored_accounts(connection)
        extracted = extract_snapshots(RunContext(settings, destination, accounts), connection, stored)
        for _ in extracted.batches():
            pass
    is_quiet = len(accounts) > _MOST_ACCOUNTS
    for entry in extracted.accounts:
        found = entry.error or f"token accepted, {entry.trunk_count} trunks at {settings.api.base_url}"
        if entry.assignments_error:
            found += f"; no assignments: {entry.assignments_error}"
        if entry.error or not is_quiet:
            yield Check(f"account {entry.account}", found, entry.exit_code)
    if is_quiet:
        count = sum(not entry.error for entry in extracted.accounts)
        yield Check("accounts", f"{count} of {len(accounts)} tokens accepted")
