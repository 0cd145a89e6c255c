"""A schedule of systemd: a service and a timer, the machine's own for root and the user's for everybody else."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sip_trunks.core.errors import DestinationError, UsageError
from sip_trunks.core.files import write_whole
from sip_trunks.operations.scheduling.job import Installed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sip_trunks.operations.scheduling.job import Job

_MARK = "# Written by `sip-trunks schedule install`, which replaces it; `sip-trunks schedule remove` takes it out.\n"
_LONGEST_DELAY_SECONDS = 300
_HIDDEN_BY_PRIVATE_TMP = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is written there

_SERVICE = """\
[Unit]
Description=Load the SIP trunks as they are now ({name})
{after}
[Service]
Type=oneshot
{user}WorkingDirectory={folder}
{environment}ExecStart={command}
# Another run is at work: nothing to do, and no failure.
SuccessExitStatus=6
# A run ends by itself, after its retries; this is for what nobody has thought of.
TimeoutStartSec=2h
Nice=10
NoNewPrivileges=true
LockPersonality=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
{sandbox}"""

_NETWORK = """\
Wants=network-online.target
After=network-online.target
"""

# What needs root's rights to be set up, so a user's own service manager has none of it.
_SANDBOX = """\
# It reads what there is, and writes what a run writes.
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
{private_tmp}PrivateDevices=true
ProtectControlGroups=true
ProtectKernelModules=true
ProtectKernelTunables=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
"""

_TIMER = """\
[Unit]
Description=When to load the SIP trunks ({name})

[Timer]
{times}
# Not everybody in the same second.
RandomizedDelaySec={delay}
AccuracySec=1s
# A time at which the machine was off is made up for.
Persistent=true

[Install]
WantedBy=timers.target
"""


def service_of(job: Job, *, is_system: bool) -> str:
    """Return the text of the service. Raises UsageError if a path cannot be written into one."""
    for text in (*job.command, *map(str, (job.folder, *job.writable))):
        if re.search(r"""["'\\]""", text) or text != text.strip():
            raise UsageError(f"no unit of systemd can name {text!r}: quotes, backslashes, blanks at an end; try cron")
    sandbox = ""
    if is_system:
        paths = (Path(job.command[0]), job.folder, *job.writable)
        hides = any(path.is_relative_to(folder) for path in paths for folder in _HIDDEN_BY_PRIVATE_TMP)
        writable = " ".join(_quoted(str(path)) for path in job.writable)
        sandbox = _SANDBOX.format(writable=writable, private_tmp="" if hides else "PrivateTmp=true\n")
    data_dir = f"SIP_TRUNKS__DATA_DIR={job.data_dir}"
    return _SERVICE.format(
        name=job.name,
        after=_NETWORK if is_system else "",
        user=f"User={job.user}\n" if job.user else "",
        folder=str(job.folder).replace("%", "%%"),
        environment=f"Environment={_quoted(data_dir)}\n" if job.data_dir else "",
        command=_command_line(job.command),
        sandbox=sandbox,
    )


def timer_of(job: Job) -> str:
    """Return the text of the timer."""
    times = "\n".join(f"OnCalendar={time}" for time in job.timetable.calendar())
    return _TIMER.format(name=job.name, times=times, delay=f"{_delay(job.timetable.shortest_gap())}s")


def render(job: Job) -> list[tuple[str, str]]:
    """Return what is put where: paths and texts."""
    service, timer = _paths(job.name)
    return [(str(service), _MARK + service_of(job, is_system=_is_system())), (str(timer), _MARK + timer_of(job))]


def is_available() -> bool:
    """Whether a service manager answers."""
    return shutil.which("systemctl") is not None and _systemctl("show", "--property=Version").returncode == 0


def check() -> None:
    """Raise UsageError if no schedule can be installed here."""
    if shutil.which("systemctl") is None:
        raise UsageError("there is no systemd on this machine; try --cron")
    done = _systemctl("show", "--property=Version")
    if done.returncode and _is_system():
        raise UsageError(f"systemd does not run here ({_words(done)}); try --cron")
    if done.returncode:
        raise UsageError(
            f"systemd does not answer this user ({_words(done)}): log in as {getpass.getuser()} rather than by su or "
            "sudo, run it as root for a schedule of the machine, or try --cron"
        )


def find() -> list[Installed]:
    """Return the schedules that `install` has put there."""
    if shutil.which("systemctl") is None:
        return []
    return [_found(timer.stem) for timer in sorted(_folder().glob("*.timer")) if _is_ours(timer)]


def install(job: Job) -> None:
    """Write both units in place of those of the same name, and start the timer.

    Raises UsageError if others are there under that name, DestinationError if systemd does not take ours.
    """
    for path in _paths(job.name):
        if path.exists() and not _is_ours(path):
            raise UsageError(f"{path} was not written by this command: move it away, or take another name, --name")
    _folder().mkdir(parents=True, exist_ok=True)
    for name, text in render(job):
        write_whole(Path(name), text.encode("utf-8", "surrogateescape"))
    _ask("daemon-reload")
    _ask("enable", f"{job.name}.timer")
    # One that runs already would go on with the times of before.
    _ask("restart", f"{job.name}.timer")


def remove(name: str) -> None:
    """Stop the timer and take both units out. Raises DestinationError."""
    _ask("disable", "--now", f"{name}.timer")
    for path in _paths(name):
        if _is_ours(path):
            path.unlink()
    _ask("daemon-reload")


def lingers() -> bool:
    """Whether this user's timers go on without a login; root's are the machine's."""
    return _is_system() or Path("/var/lib/systemd/linger", getpass.getuser()).exists()


def _found(name: str) -> Installed:
    service, timer = (path.read_text("utf-8", "surrogateescape") if path.exists() else "" for path in _paths(name))
    done = _systemctl("show", f"{name}.timer", "--property=NextElapseUSecRealtime", "--value")
    return Installed(
        name=name,
        scheduler="systemd",
        place=str(_paths(name)[1]),
        folder=next(iter(_values(service, "WorkingDirectory")), "").replace("%%", "%"),
        times=tuple(_values(timer, "OnCalendar")),
        command=next(iter(_values(service, "ExecStart")), ""),
        next_at=done.stdout.strip() or f"never: the timer is not running (systemctl{_whose()} status {name}.timer)",
    )


def _values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, flags=re.MULTILINE)


def _is_system() -> bool:
    return os.geteuid() == 0


def _folder() -> Path:
    if _is_system():
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _paths(name: str) -> tuple[Path, Path]:
    return _folder() / f"{name}.service", _folder() / f"{name}.timer"


def _is_ours(path: Path) -> bool:
    return path.is_file() and path.read_text("utf-8", "surrogateescape").startswith(_MARK)


def _command_line(command: Sequence[str]) -> str:
    words = " ".join(_quoted(word) for word in command)
    # Beginning with a colon, no $ is anything but a letter.
    return f":{words}" if "$" in words else words


def _quoted(text: str) -> str:
    text = text.replace("%", "%%")
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else f'"{text}"'


def _delay(gap: timedelta) -> int:
    return min(_LONGEST_DELAY_SECONDS, round(gap.total_seconds() / 20))


def _whose() -> str:
    return "" if _is_system() else " --user"


def _ask(*arguments: str) -> None:
    done = _systemctl(*arguments)
    if done.returncode:
        command = " ".join(["systemctl", *_whose().split(), *arguments])
        raise DestinationError(f"`{command}` failed: {_words(done)}; the units are in {_folder()}")


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemctl", *_whose().split(), "--no-ask-password", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
