"""The installed schedules of every scheduler on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.operations.scheduling import crontab, systemd
from sip_trunks.operations.scheduling.job import owner_of

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings
    from sip_trunks.operations.scheduling.job import Installed


def find_schedules(settings: Settings) -> list[Installed]:
    """Return the schedules in systemd and in the crontab of the owner of the data."""
    return [*systemd.find(), *crontab.find(owner_of(settings))]
