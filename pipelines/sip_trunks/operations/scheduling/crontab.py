"""A schedule in a user's crontab: a block of lines between two marks. All other lines stay unchanged."""

import re
import shlex
import shutil
import subprocess
from datetime import datetime

from sip_trunks.core.errors import DestinationError, UsageError
from sip_trunks.operations.scheduling.job import Installed, Job, call, describe_problem, user_name

NAME = "cron"
_BLOCK = re.compile(
    r"^# begin (?P<name>\S+) in (?P<folder>[^\n]*): written by `sip-trunks schedule install`\n"
    r"(?P<line>[^\n]*)\n# end (?P=name)\n",
    flags=re.MULTILINE,
)
_BEGINNING = re.compile(r"^# begin (\S+) in .*: written by `sip-trunks schedule install`$", flags=re.MULTILINE)


def line_of(job: Job) -> str:
    """Return the crontab line of the job.

    A failed run prints its output, so that cron mails it. A run that finds another run active prints nothing.
    """
    variables = f"SIP_TRUNKS__DATA_DIR={shlex.quote(str(job.data_dir))} " if job.data_dir else ""
    command = f"cd {shlex.quote(str(job.folder))} && out=$({variables}{shlex.join(job.command)} 2>&1)"
    # cron ends a line at an unescaped %.
    return f"{job.timetable.cron}  " + f'{command} || [ $? -eq 6 ] || echo "$out"'.replace("%", r"\%")


def render(job: Job) -> list[tuple[str, str]]:
    """Return the titles and texts to install: the block of the crontab."""
    return [(f"the crontab of {job.user or user_name()}", _block(job))]


def find_problem() -> str | None:
    """Return why no schedule can be installed in cron, or None."""
    is_installed = shutil.which("crontab") is not None
    return None if is_installed else "crontab is not installed on this machine; install cron, or use --systemd"


def find(user: str | None = None) -> list[Installed]:
    """Return the installed schedules in the crontab of `user` (default: the current user)."""
    schedules = []
    for found in () if find_problem() else _BLOCK.finditer(_read(user)):
        from sip_trunks.operations.scheduling.timetable import read_cron  # slow to import, rarely needed

        times = " ".join(found["line"].split()[:5])
        command = found["line"].removeprefix(times).strip()
        try:
            # Schedulers use the machine's local time.
            next_at = f"{next(read_cron(times).after(datetime.now())):%Y-%m-%d %H:%M}"  # noqa: DTZ005
        except UsageError:
            next_at = "unknown: the line was edited"
        location = f"the crontab of {user or user_name()}"
        schedules.append(Installed(found["name"], NAME, location, found["folder"], (times,), command, next_at))
    return schedules


def install(job: Job) -> None:
    """Add the job's block to the crontab, replacing a block with the same name. Raises DestinationError."""
    before = _without(_read(job.user), job.name)
    separator = "" if not before or before.endswith("\n") else "\n"
    _write(f"{before}{separator}{_block(job)}", job.user)


def remove(name: str, user: str | None = None) -> None:
    """Remove the block with this name from the crontab. Raises DestinationError."""
    _write(_without(_read(user), name), user)


def _block(job: Job) -> str:
    mark = f"# begin {job.name} in {job.folder}: written by `sip-trunks schedule install`"
    return f"{mark}\n{line_of(job)}\n# end {job.name}\n"


def _without(text: str, name: str) -> str:
    rest = _BLOCK.sub(lambda found: "" if found["name"] == name else found[0], text)
    if name in _BEGINNING.findall(rest):
        raise UsageError(f"the lines after `# begin {name}` in the crontab were edited; remove them with crontab -e")
    return rest


def _read(user: str | None) -> str:
    done = _crontab(user, "-l")
    if done.returncode == 0:
        return done.stdout
    # If the user has no crontab, or must not have one, each cron prints its own message. Only writing fails then.
    if re.search(r"no crontab|no such file|not allowed", done.stderr, flags=re.IGNORECASE):
        return ""
    raise DestinationError(f"the crontab cannot be read: {describe_problem(done)}")


def _write(text: str, user: str | None) -> None:
    done = _crontab(user, "-", text=text)
    if done.returncode:
        raise DestinationError(f"crontab rejected the new crontab; the old one is unchanged: {describe_problem(done)}")


def _crontab(user: str | None, argument: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return call(["crontab", *(["-u", user] if user else []), argument], text)
