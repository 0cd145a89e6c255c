"""One run at a time per data directory."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from sip_trunks.core.errors import RunActiveError
from sip_trunks.core.settings import prepare_state_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sip_trunks.core.settings import Settings

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.02


@contextmanager
def holding_lock(settings: Settings) -> Iterator[None]:
    """Lock the data directory for this run. The system releases the lock when the process ends, even by a kill.

    Raises RunActiveError if another run has it.
    """
    prepare_state_dir(settings)
    with (settings.state_dir / "run.lock").open("a+") as file:
        if not _try_to_lock(file):
            file.seek(0)
            raise RunActiveError(f"another run is active in {settings.data_dir} ({file.read() or 'just started'})")
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        file.flush()
        yield


def _try_to_lock(file: IO[str]) -> bool:
    """Lock the file unless a run has it; `is_run_active` holds it for an instant, so try more than once."""
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False


def is_run_active(settings: Settings) -> bool:
    """Whether a run is active in the data directory; False if this user may not read the lock file."""
    try:
        with (settings.state_dir / "run.lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except (FileNotFoundError, PermissionError):
        return False
    except BlockingIOError:
        return True
