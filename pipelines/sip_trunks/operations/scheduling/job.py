"""What a schedule calls: `sip-trunks run`, in the same folder and on the same data as where it is installed."""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from sip_trunks.core.errors import UsageError
from sip_trunks.destinations import open_destination

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip_trunks.core.settings import Settings
    from sip_trunks.operations.scheduling.timetable import Timetable


@dataclass(frozen=True)
class Job:
    """One scheduled run.

    `folder` is where it runs and so finds `.dlt`; `writable` is what it has to write; `user` is who it runs as, None
    for who installs it; `data_dir` is told to the run only if nothing but this shell says it.
    """

    name: str
    timetable: Timetable
    command: tuple[str, ...]
    folder: Path
    writable: tuple[Path, ...]
    data_dir: Path | None = None
    user: str | None = None


@dataclass(frozen=True)
class Installed:
    """A schedule as it was found: which scheduler has it and where, what it says, in which folder it runs."""

    name: str
    scheduler: str
    place: str
    folder: str
    times: tuple[str, ...]
    command: str
    next_at: str


def describe_run(
    settings: Settings, name: str, timetable: Timetable, *, accounts: Sequence[str], destination: str | None
) -> Job:
    """Return the job that runs as this command does: same program, same settings folder, same data directory."""
    arguments = [part for account in accounts for part in ("--account", account)]
    arguments += ["--destination", destination] if destination else []
    folder = _folder(settings)
    job = Job(
        name=name,
        timetable=timetable,
        command=(*_program(), "run", *arguments),
        folder=folder,
        writable=_writable(settings),
        data_dir=settings.data_dir if os.environ.get("SIP_TRUNKS__DATA_DIR") else None,
        user=owner_of(settings),
    )
    for text in (*job.command, *map(str, (job.folder, *job.writable))):
        if not text.isprintable():
            raise UsageError(f"no schedule can name {text!r}: its name has characters that cannot be printed")
    return job


def owner_of(settings: Settings) -> str | None:
    """Return whose the data is, if root asks and it is not root's: files that root leaves its owner cannot replace."""
    if os.geteuid() != 0:
        return None
    place = settings.data_dir if settings.data_dir.exists() else _folder(settings)
    owner = place.stat().st_uid
    try:
        return pwd.getpwuid(owner).pw_name if owner else None
    except KeyError:
        raise UsageError(f"{place} belongs to the user {owner}, whom this machine does not know") from None


def offset_minutes(settings: Settings) -> int:
    """Return how long after the full interval this machine's runs come: always the same, elsewhere another.

    If everybody came at the full hour, the API would be asked by all at once.
    """
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    seed = f"{machine or os.uname().nodename}:{settings.data_dir}"
    return int.from_bytes(sha256(seed.encode("utf-8", "surrogateescape")).digest()[:4])


def _program() -> tuple[str, ...]:
    """Return this program by its absolute path, links as they are: a virtual environment is one."""
    script = Path(sys.executable).absolute().with_name("sip-trunks")
    return (str(script),) if script.exists() else (sys.executable, "-m", "sip_trunks")


def _writable(settings: Settings) -> tuple[Path, ...]:
    """Return the folders that a run writes to: the data directory, and those of a lake and of metrics elsewhere."""
    folders = (*open_destination(settings).written_folders, settings.metrics_path.parent)
    return (settings.data_dir, *(folder for folder in folders if not folder.is_relative_to(settings.data_dir)))


def _folder(settings: Settings) -> Path:
    return settings.config_dir.parent if settings.config_dir else Path.cwd()
