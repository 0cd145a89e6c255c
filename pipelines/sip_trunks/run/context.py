"""What one run works with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sip_trunks.core.settings import Account, Settings
    from sip_trunks.destinations.base import Destination


@dataclass(frozen=True)
class RunContext:
    """The settings, the destination, the accounts and the options of one run; a run begins when this is made."""

    settings: Settings
    destination: Destination
    accounts: Sequence[Account]
    accept_shrink: bool = False
    with_reports: bool = True
    announce: Callable[[str], None] = lambda _: None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _clock: float = field(default_factory=time.monotonic, repr=False)

    @property
    def duration_seconds(self) -> float:
        """Time since the run began."""
        return round(time.monotonic() - self._clock, 3)
