"""A schedule in systemd: a service and a timer, of the machine for root and of the user for other users."""

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path

from sip_trunks.core.errors import DestinationError, UsageError
from sip_trunks.core.files import write_whole
from sip_trunks.operations.scheduling.job import Installed, Job, call, describe_problem

NAME = "systemd"
_MARK = "# Written by `sip-trunks schedule install`"
_HEADER = f"{_MARK}, which replaces this file. `sip-trunks schedule remove` deletes it.\n"
_SANDBOX = "# The file system is read-only"
_MAX_DELAY_SECONDS = 300
_HIDDEN_BY_PRIVATE_TMP = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is written there


def service_of(job: Job, *, is_system: bool) -> str:
    """Return the text of the service unit. Raises UsageError if a unit cannot contain one of the paths."""
    for text in (*job.command, *map(str, (job.folder, *job.writable))):
        if re.search(r"""["'\\]""", text) or text != text.strip():
            raise UsageError(
                f"a systemd unit cannot contain {text!r} (a quote, a backslash, or a space at an end); try --cron"
            )
    paths = (Path(job.command[0]), job.folder, *job.writable)
    is_tmp_needed = any(path.is_relative_to(folder) for path in paths for folder in _HIDDEN_BY_PRIVATE_TMP)
    command = " ".join(map(_quoted, job.command))
    unit = _read_template("service").format(
        name=job.name,
        network="Wants=network-online.target\nAfter=network-online.target\n" if is_system else "",
        user=f"User={job.user}\n" if job.user else "",
        folder=str(job.folder).replace("%", "%%"),
        environment=f"Environment={_quoted(f'SIP_TRUNKS__DATA_DIR={job.data_dir}')}\n" if job.data_dir else "",
        # systemd expands variables unless the command starts with a colon.
        command=f":{command}" if "$" in command else command,
        writable=" ".join(_quoted(str(path)) for path in job.writable),
        private_tmp="" if is_tmp_needed else "PrivateTmp=true\n",
    )
    # Only root can set up the sandbox; a user's service manager cannot.
    return unit if is_system else unit.partition(_SANDBOX)[0]


def timer_of(job: Job) -> str:
    """Return the text of the timer unit."""
    times = "\n".join(f"OnCalendar={time}" for time in job.timetable.calendar())
    delay = min(_MAX_DELAY_SECONDS, round(job.timetable.shortest_gap().total_seconds() / 20))
    return _read_template("timer").format(name=job.name, times=times, delay=delay)


def _read_template(kind: str) -> str:
    return Path(__file__).with_name(f"sip-trunks.{kind}").read_text("utf-8")


def render(job: Job) -> list[tuple[str, str]]:
    """Return the paths and texts to install: the service and the timer."""
    service, timer = _paths(job.name)
    return [(str(service), _HEADER + service_of(job, is_system=_is_root())), (str(timer), _HEADER + timer_of(job))]


def find_problem() -> str | None:
    """Return why no schedule can be installed in systemd, or None: its service manager responds."""
    if not _is_installed():
        return "systemd is not installed on this machine; try --cron"
    done = _systemctl("show", "--property=Version")
    if done.returncode == 0:
        return None
    if _is_root():
        return f"systemd is not running ({describe_problem(done)}); try --cron"
    return (
        f"systemd does not respond to this user ({describe_problem(done)}); log in as {getpass.getuser()} instead "
        "of using su or sudo, or run this as root for a schedule of the machine, or try --cron"
    )


def find() -> list[Installed]:
    """Return the installed schedules."""
    if not _is_installed():
        return []
    return [_found(timer.stem) for timer in sorted(_folder().glob("*.timer")) if _is_ours(timer)]


def install(job: Job) -> None:
    """Write both units, replacing those of a schedule with the same name, and start the timer.

    Raises UsageError if units with this name exist that `install` did not write, and DestinationError if systemd
    rejects the units.
    """
    for path in _paths(job.name):
        if path.exists() and not _is_ours(path):
            raise UsageError(f"{path} was not written by this command; move it away, or choose another --name")
    _folder().mkdir(parents=True, exist_ok=True)
    for name, text in render(job):
        write_whole(Path(name), text.encode("utf-8", "surrogateescape"))
    _ask("daemon-reload")
    _ask("enable", f"{job.name}.timer")
    # A running timer would keep its old times.
    _ask("restart", f"{job.name}.timer")


def remove(name: str) -> None:
    """Stop the timer and delete both units. Raises DestinationError."""
    _ask("disable", "--now", f"{name}.timer")
    for path in _paths(name):
        if _is_ours(path):
            path.unlink()
    _ask("daemon-reload")


def lingers() -> bool:
    """Whether this user's timers run without a login. Root's always do."""
    return _is_root() or Path("/var/lib/systemd/linger", getpass.getuser()).exists()


def _found(name: str) -> Installed:
    service, timer = (path.read_text("utf-8", "surrogateescape") if path.exists() else "" for path in _paths(name))
    done = _systemctl("show", f"{name}.timer", "--property=NextElapseUSecRealtime", "--value")
    status = " ".join(["systemctl", *_whose(), "status", f"{name}.timer"])
    return Installed(
        name=name,
        scheduler=NAME,
        place=str(_paths(name)[1]),
        folder=next(iter(_values(service, "WorkingDirectory")), "").replace("%%", "%"),
        times=tuple(_values(timer, "OnCalendar")),
        command=next(iter(_values(service, "ExecStart")), ""),
        next_at=done.stdout.strip() or f"never: the timer is not running ({status})",
    )


def _values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, flags=re.MULTILINE)


def _is_installed() -> bool:
    return shutil.which("systemctl") is not None


def _is_root() -> bool:
    return os.geteuid() == 0


def _folder() -> Path:
    if _is_root():
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _paths(name: str) -> tuple[Path, Path]:
    return _folder() / f"{name}.service", _folder() / f"{name}.timer"


def _is_ours(path: Path) -> bool:
    return path.is_file() and path.read_text("utf-8", "surrogateescape").startswith(_MARK)


def _quoted(text: str) -> str:
    text = text.replace("%", "%%")
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else f'"{text}"'


def _whose() -> tuple[str, ...]:
    return () if _is_root() else ("--user",)


def _ask(*arguments: str) -> None:
    done = _systemctl(*arguments)
    if done.returncode:
        command = " ".join(["systemctl", *_whose(), *arguments])
        raise DestinationError(f"`{command}` failed: {describe_problem(done)}; the units are in {_folder()}")


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return call(["systemctl", *_whose(), "--no-ask-password", *arguments])
