"""Rename or delete an account: its rows in every table, its findings, its data in the files of the data directory."""

import json
from dataclasses import replace

from sip_trunks.core.files import write_whole
from sip_trunks.core.logs import logger
from sip_trunks.core.settings import Settings
from sip_trunks.destinations.base import Destination
from sip_trunks.operations.monitoring.prometheus import rename_metrics
from sip_trunks.operations.monitoring.webhook import rename_notifications
from sip_trunks.operations.retention import rewrite
from sip_trunks.run.pending import rename_pending
from sip_trunks.run.result import rename_entries
from sip_trunks.run.run_log import rename_failures
from sip_trunks.warehouse.rewriting import Renaming


def rename_account(settings: Settings, destination: Destination, renaming: Renaming) -> dict[str, int]:
    """Rename the account, and publish reports with its new name; return the number of renamed rows by table.

    The caller holds the lock. It can be called again after it was killed. Raises DestinationError or OSError.
    """
    # As they apply after the renaming, although the settings may still have the old name.
    suppressions = tuple(
        entry | {"account": renaming.new} if entry.get("account") == renaming.old else entry
        for entry in settings.suppressions
    )
    counts = rewrite(replace(settings, suppressions=suppressions), destination, renaming)
    logger.info("renamed the account %s to %s in %s", renaming.old, renaming.new, destination.location)
    rename_in_files(settings, renaming.old, renaming.new)
    return counts


def rename_in_files(settings: Settings, old: str, new: str | None) -> None:
    """Rename an account in the files of the data directory; if `new` is None, delete its data from them.

    Raises OSError.
    """
    for rename in (_rename_last_run, rename_metrics, rename_notifications, rename_pending, rename_failures):
        rename(settings, old, new)


def _rename_last_run(settings: Settings, old: str, new: str | None) -> None:
    """Rename the account in the record of the last run, which `status` shows; details of drift quote its values."""
    try:
        noted = json.loads(settings.last_run_path.read_text("utf-8"))
        entries = rename_entries(noted["accounts"], old, new)
    except (OSError, ValueError, LookupError, TypeError):
        return
    write_whole(settings.last_run_path, json.dumps(noted | {"accounts": entries}, indent=1).encode())
