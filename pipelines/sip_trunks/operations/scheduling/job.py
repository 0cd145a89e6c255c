"""The scheduled command: `sip-trunks run` with the program, folder and data directory of the current process."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from sip_trunks.core.config_files import home_of
from sip_trunks.core.errors import UsageError
from sip_trunks.destinations import open_destination

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings
    from sip_trunks.operations.scheduling.timetable import Timetable


@dataclass(frozen=True)
class Job:
    """A scheduled run.

    `folder` is its working directory, where it finds `.dlt`. `writable` has the folders that it writes to. `user` runs
    it; None means the current user. `data_dir` is set only if it comes from the environment, which a schedule lacks.
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
    """An installed schedule: its scheduler, the location of its text there, and what the text contains."""

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
    """Return the job that runs with the current program, settings folder and data directory.

    Raises UsageError if a path has characters that a schedule cannot contain.
    """
    arguments = [part for account in accounts for part in ("--account", account)]
    if settings.config_dir and home_of(settings.config_dir) == settings.config_dir:
        arguments += ["--config", str(settings.config_dir)]  # the working directory names only a folder `.dlt`
    arguments += ["--destination", destination] if destination else []
    # The path is not resolved, because a virtual environment is found through its own links.
    script = Path(sys.executable).absolute().with_name("sip-trunks")
    program = (str(script),) if script.exists() else (sys.executable, "-m", "sip_trunks")
    folders = (*open_destination(settings).written_folders, settings.metrics_path.parent)
    job = Job(
        name=name,
        timetable=timetable,
        command=(*program, "run", *arguments),
        folder=home_of(settings.config_dir),
        writable=(settings.data_dir, *(path for path in folders if not path.is_relative_to(settings.data_dir))),
        data_dir=settings.data_dir if os.environ.get("SIP_TRUNKS__DATA_DIR") else None,
        user=owner_of(settings),
    )
    for text in (*job.command, *map(str, (job.folder, *job.writable))):
        if not text.isprintable():
            raise UsageError(f"a schedule cannot contain {text!r}, because it has characters that cannot be printed")
    return job


def owner_of(settings: Settings) -> str | None:
    """Return the owner of the data if root runs this command and another user owns the data, else None.

    The schedule runs as the owner, because the owner could not replace files that root writes.
    """
    if os.geteuid() != 0:
        return None
    path = settings.data_dir if settings.data_dir.exists() else home_of(settings.config_dir)
    owner = path.stat().st_uid
    try:
        return user_name(owner) if owner else None
    except KeyError:
        raise UsageError(f"{path} belongs to user {owner}, which does not exist on this machine") from None


def user_name(user_id: int | None = None) -> str:
    """Return the name of a user (default: the current user). Raises KeyError if it does not exist."""
    return pwd.getpwuid(os.geteuid() if user_id is None else user_id).pw_name


def offset_minutes(settings: Settings) -> int:
    """Return the delay after a full interval in minutes. It is constant per machine and data directory.

    Without it, all installations would call the API on the hour.
    """
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    seed = f"{machine or os.uname().nodename}:{settings.data_dir}"
    return int.from_bytes(sha256(seed.encode("utf-8", "surrogateescape")).digest()[:4])


def call(command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a scheduler's program with `text` as its input, and return its result and output."""
    return subprocess.run(  # noqa: S603 - the caller's own arguments
        command,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=os.environ | {"LC_ALL": "C"},
        check=False,
    )


def describe_problem(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error message of a program as one line."""
    return " ".join(done.stderr.split()) or f"exit code {done.returncode}"
