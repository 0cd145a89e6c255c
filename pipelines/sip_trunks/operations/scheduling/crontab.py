"""A schedule in a user's crontab: a block of lines between two marks; everything else in it stays as it is."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
from datetime import datetime
from typing import TYPE_CHECKING

from sip_trunks.core.errors import DestinationError, UsageError
from sip_trunks.operations.scheduling.job import Installed
from sip_trunks.operations.scheduling.timetable import read_cron

if TYPE_CHECKING:
    from sip_trunks.operations.scheduling.job import Job

_BLOCK = re.compile(
    r"^# begin (?P<name>\S+) in (?P<folder>[^\n]*): written by `sip-trunks schedule install`\n"
    r"(?P<line>[^\n]*)\n# end (?P=name)\n",
    flags=re.MULTILINE,
)
_BEGINNING = re.compile(r"^# begin (\S+) in .*: written by `sip-trunks schedule install`$", flags=re.MULTILINE)


def line_of(job: Job) -> str:
    """Return the line of a crontab for the job.

    A run that fails prints all that it has said, which cron sends by mail; one that finds another at work does not.
    """
    variables = f"SIP_TRUNKS__DATA_DIR={shlex.quote(str(job.data_dir))} " if job.data_dir else ""
    call = f"cd {shlex.quote(str(job.folder))} && out=$({variables}{shlex.join(job.command)} 2>&1)"
    # To cron an unescaped % is the end of the line.
    return f"{job.timetable.cron}  " + f'{call} || [ $? -eq 6 ] || echo "$out"'.replace("%", r"\%")


def render(job: Job) -> list[tuple[str, str]]:
    """Return what is put where: titles and texts."""
    return [(f"the crontab of {job.user or _myself()}", _block(job))]


def is_available() -> bool:
    """Whether there is a `crontab` to be called."""
    return shutil.which("crontab") is not None


def check() -> None:
    """Raise UsageError if no schedule can be installed here."""
    if not is_available():
        raise UsageError("there is no crontab on this machine: install cron, or try --systemd")


def find(user: str | None = None) -> list[Installed]:
    """Return the schedules that `install` has put there."""
    if not is_available():
        return []
    return [
        Installed(
            name=found["name"],
            scheduler="cron",
            place=f"the crontab of {user or _myself()}",
            folder=found["folder"],
            times=(_times(found["line"]),),
            command=found["line"].removeprefix(_times(found["line"])).strip(),
            next_at=_next(_times(found["line"])),
        )
        for found in _BLOCK.finditer(_read(user))
    ]


def install(job: Job) -> None:
    """Put the job's block in, in place of one of the same name. Raises DestinationError."""
    before = _without(_read(job.user), job.name)
    separator = "" if not before or before.endswith("\n") else "\n"
    _write(f"{before}{separator}{_block(job)}", job.user)


def remove(name: str, user: str | None = None) -> None:
    """Take the block of that name out. Raises DestinationError."""
    _write(_without(_read(user), name), user)


def _block(job: Job) -> str:
    mark = f"# begin {job.name} in {job.folder}: written by `sip-trunks schedule install`"
    return f"{mark}\n{line_of(job)}\n# end {job.name}\n"


def _times(line: str) -> str:
    return " ".join(line.split()[:5])


def _next(times: str) -> str:
    try:
        # Cron's times are the machine's own.
        return f"{next(read_cron(times).after(datetime.now())):%Y-%m-%d %H:%M}"  # noqa: DTZ005
    except UsageError:
        return "unknown: the line was changed"


def _without(text: str, name: str) -> str:
    rest = _BLOCK.sub(lambda found: "" if found["name"] == name else found[0], text)
    if name in _BEGINNING.findall(rest):
        raise UsageError(f"the lines after `# begin {name}` in the crontab were changed: take them out, crontab -e")
    return rest


def _myself() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _read(user: str | None) -> str:
    done = _call(user, "-l")
    if done.returncode == 0:
        return done.stdout
    # Every cron has its own words for a user who has no crontab yet, or may have none: then writing one fails.
    if re.search(r"no crontab|no such file|not allowed", done.stderr, flags=re.IGNORECASE):
        return ""
    raise DestinationError(f"the crontab cannot be read: {_words(done)}")


def _write(text: str, user: str | None) -> None:
    done = _call(user, "-", text=text)
    if done.returncode:
        raise DestinationError(f"the crontab is as it was, since crontab refused the new one: {_words(done)}")


def _call(user: str | None, argument: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = ["crontab", *(["-u", user] if user else []), argument]
    return subprocess.run(  # noqa: S603 - the arguments are ours
        command,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=os.environ | {"LC_ALL": "C"},
        check=False,
    )


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
