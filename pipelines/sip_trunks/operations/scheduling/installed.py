"""The installed schedules of every scheduler on this machine."""

from sip_trunks.core.settings import Settings
from sip_trunks.operations.scheduling import crontab, systemd
from sip_trunks.operations.scheduling.job import Installed, owner_of


def find_schedules(settings: Settings) -> list[Installed]:
    """Return the schedules in systemd and in the crontab of the owner of the data."""
    return [*systemd.find(), *crontab.find(owner_of(settings))]
