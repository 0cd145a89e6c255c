"""Ready to run? Settings, token, API, data directory, disk, one line each."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from pipelines.destination import open_destination
from pipelines.errors import DestinationFailed, Failure, SettingsError, describe_error, exit_code_of
from pipelines.famulor.client import fetch_snapshot
from pipelines.settings import find_unknown_settings, pick_accounts, prepare_state_dir
from transforms.answer import UnusableAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.settings import Account, Settings

_LEAST_FREE_BYTES = 100 * 2**20


def check(settings: Settings) -> int:
    """Print one line per check and return the exit code of the first that fails; nothing is stored."""
    code = 0
    checks: list[tuple[str, Callable[[], str]]] = [
        ("settings", partial(_check_settings, settings)),
        ("data", partial(_check_data_dir, settings)),
        ("disk", partial(_check_disk, settings)),
    ]
    try:
        accounts = pick_accounts(settings, [])
    except Failure as error:
        checks.append(("token", partial(_fail, error)))
    else:
        checks += [(f"account {account.name}", partial(_check_account, settings, account)) for account in accounts]
    for name, look in checks:
        try:
            print(f"ok    {name}: {look()}")
        except (Failure, UnusableAnswer, OSError) as error:
            print(f"FAIL  {name}: {describe_error(error)}")
            code = code or exit_code_of(error)
    return code


def _fail(error: Failure) -> str:
    raise error


def _check_settings(settings: Settings) -> str:
    unknown = find_unknown_settings(settings)
    if unknown:
        raise SettingsError(f"there is no setting {', '.join(unknown)}; .dlt/config.toml lists those there are")
    from pipelines.reporting import read_options

    read_options(settings)
    return str(settings.config_dir or "no .dlt folder; environment and defaults")


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
    free = shutil.disk_usage(settings.data_dir).free
    # A run needs room for a second file beside the published one.
    size = settings.warehouse_path.stat().st_size if settings.warehouse_path.exists() else 0
    needed = max(_LEAST_FREE_BYTES, 2 * size)
    if free < needed:
        raise DestinationFailed(f"{free / 1e6:.0f} MB free, a run may need {needed / 1e6:.0f} MB")
    return f"{free / 1e9:.1f} GB free"


def _check_account(settings: Settings, account: Account) -> str:
    snapshot = fetch_snapshot(account, settings.api)
    return f"token accepted, {len(snapshot.records or ())} trunks at {settings.api.base_url}"
