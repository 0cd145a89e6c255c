"""The lock that allows one run at a time per data directory."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO

from sip_trunks.core.errors import RunActiveError
from sip_trunks.core.settings import Settings, prepare_state_dir


@contextmanager
def holding_lock(settings: Settings) -> Iterator[None]:
    """Lock the data directory while the context lasts. The system releases the lock even if the process is killed.

    Raises RunActiveError if another run holds the lock.
    """
    prepare_state_dir(settings)
    with (settings.state_dir / "run.lock").open("a+") as file:
        if not _try_to_lock(file):
            file.seek(0)
            raise RunActiveError(f"another run is active in {settings.data_dir} ({file.read() or 'just started'})")
        file.truncate(0)
        with suppress(OSError):  # a full disk; without a buffer, closing the file does not fail either
            os.write(file.fileno(), f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}".encode())
        yield


def _try_to_lock(file: IO[str]) -> bool:
    """Lock the file and return whether that succeeded. Tries five times, as `is_run_active` briefly locks it too."""
    for _ in range(5):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def is_run_active(settings: Settings) -> bool:
    """Whether a run is active in the data directory. False if this user cannot read the lock file."""
    try:
        with (settings.state_dir / "run.lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except (FileNotFoundError, PermissionError):
        return False
    except BlockingIOError:
        return True
