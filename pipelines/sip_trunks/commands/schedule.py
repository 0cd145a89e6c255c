"""`schedule install`, `show` and `remove`: nothing is put anywhere that was not shown before."""

from __future__ import annotations

import re
import shutil
import sys
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from sip_trunks.commands.options import add_accounts, add_destination
from sip_trunks.core.accounts import has_stored_token, pick_accounts
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import find_shell_settings, read_settings
from sip_trunks.operations.scheduling import crontab, systemd
from sip_trunks.operations.scheduling.job import describe_run, offset_minutes, owner_of
from sip_trunks.operations.scheduling.timetable import read_cron, read_interval

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

    from sip_trunks.core.settings import Settings
    from sip_trunks.operations.scheduling.job import Installed, Job
    from sip_trunks.operations.scheduling.timetable import Timetable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    adding = actions.add_parser("install", help="show what is installed where, ask, and install it")
    adding.add_argument("--every", metavar="TIME", help="how often: 15min, 1h, 6h, 1d")
    adding.add_argument(
        "--cron",
        nargs="?",
        const="",
        metavar="EXPRESSION",
        help='use cron; with an expression such as "7 * * * *" in place of --every',
    )
    adding.add_argument("--systemd", action="store_true", help="use a systemd timer (default: if systemd answers)")
    add_accounts(adding)
    adding.add_argument("--dry-run", action="store_true", help="only show it")
    add_destination(adding)
    actions.add_parser("show", help="show installed schedules and their next times")
    removing = actions.add_parser("remove", help="show the schedule, ask, and remove it")
    for action in (adding, removing):
        action.add_argument("--name", default="sip-trunks", help="one of several schedules (default: sip-trunks)")
        action.add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace) -> int:
    """Install, show or remove a schedule."""
    if options.action == "install":
        return install(read_settings(options.destination), options)
    return show(read_settings()) if options.action == "show" else remove(read_settings(), options)


def install(settings: Settings, options: argparse.Namespace) -> int:
    """Show what is put where and then, unless it is a dry run, ask and put it there. Raises UsageError."""
    if not _NAME.fullmatch(options.name):
        raise UsageError(f"--name needs letters, digits, '.', '-' and '_', got {options.name!r}")
    timetable = _timetable(settings, options)
    scheduler = _scheduler(options)
    if options.account:
        pick_accounts(settings, options.account)
    job = describe_run(settings, options.name, timetable, accounts=options.account, destination=options.destination)
    for title, text in scheduler.render(job):
        print(f"# {title}\n{text}")
    # Both schedulers go by the machine's own time.
    times = islice(timetable.after(datetime.now()), 3)  # noqa: DTZ005
    print(f"next runs  {', '.join(f'{time:%Y-%m-%d %H:%M}' for time in times)}, local time")
    sys.stdout.flush()
    _warn(settings)
    if options.dry_run:
        return 0
    scheduler.check()
    _refuse_another(job, scheduler, _find(settings))
    if not _agreed("install this?", options):
        print("nothing was installed")
        return 0
    _prepare(job)
    scheduler.install(job)
    print("installed; sip-trunks schedule show says when it comes next, sip-trunks status how it went")
    if scheduler is systemd and not systemd.lingers():
        print("it pauses while you are logged out; for a schedule that does not: loginctl enable-linger")
    return 0


def show(settings: Settings) -> int:
    """Print the schedules that are installed."""
    found = _find(settings)
    if not found:
        print("no schedule: sip-trunks schedule install --every 1h")
    for number, schedule in enumerate(found):
        print("\n" if number else "", end="")
        _print(schedule)
    return 0


def remove(settings: Settings, options: argparse.Namespace) -> int:
    """Show the schedule of that name, ask, and take it out; the data stays."""
    found = [schedule for schedule in _find(settings) if schedule.name == options.name]
    if not found:
        print(f"no schedule of the name {options.name} is installed")
        return 0
    for schedule in found:
        _print(schedule)
    sys.stdout.flush()
    if not _agreed("remove this?", options):
        print("nothing was removed")
        return 0
    for schedule in found:
        if schedule.scheduler == "systemd":
            systemd.remove(schedule.name)
        else:
            crontab.remove(schedule.name, owner_of(settings))
    print("removed; what is stored stays")
    return 0


def _timetable(settings: Settings, options: argparse.Namespace) -> Timetable:
    if bool(options.every) == bool(options.cron):
        raise UsageError('how often? Either --every 1h, or an expression of cron: --cron "7 * * * *"')
    if options.every:
        return read_interval(options.every, offset_minutes(settings))
    return read_cron(options.cron)


def _scheduler(options: argparse.Namespace) -> ModuleType:
    """Return the scheduler that is meant: `--cron`, with or without an expression, is cron unless `--systemd` is said.

    Where nothing is said it is systemd where that answers, else cron.
    """
    if options.systemd and options.cron == "":
        raise UsageError("--systemd or --cron: one of them calls the run")
    if options.systemd:
        return systemd
    if options.cron is not None:
        return crontab
    return systemd if systemd.is_available() else crontab


def _find(settings: Settings) -> list[Installed]:
    return [*systemd.find(), *crontab.find(owner_of(settings))]


def _refuse_another(job: Job, scheduler: ModuleType, found: list[Installed]) -> None:
    """Raise UsageError if the name is another's: nobody's schedule is replaced by the way."""
    for other in found:
        is_here = other.scheduler == ("systemd" if scheduler is systemd else "cron")
        if other.name == job.name and other.folder != str(job.folder):
            raise UsageError(f"the schedule {job.name} is another's, for {other.folder}: give this one a --name")
        if other.name == job.name and not is_here:
            option = "" if job.name == "sip-trunks" else f" --name {job.name}"
            raise UsageError(
                f"{other.scheduler} calls it already ({other.place}): sip-trunks schedule remove{option}, then install"
            )


def _prepare(job: Job) -> None:
    """Make the folders that a run writes into: a service that is confined to them does not start without."""
    for folder in job.writable:
        if not folder.exists():
            folder.mkdir(parents=True)
            if job.user:
                shutil.chown(folder, job.user)


def _agreed(question: str, options: argparse.Namespace) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody to ask, since there is no terminal: --yes does it without, --dry-run only shows")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _warn(settings: Settings) -> None:
    """Say what the schedule will miss: it has no shell, and neither variables nor a token out of one."""
    unseen = find_shell_settings()
    folder = settings.config_dir or ".dlt"
    if unseen:
        print(
            f"sip-trunks: the schedule will not see what only this shell has ({', '.join(unseen)}): write it into "
            f"{folder}/config.toml, tokens and passwords into {folder}/secrets.toml",
            file=sys.stderr,
        )
    elif not has_stored_token(settings):
        print(
            f"sip-trunks: there is no token in {folder}/secrets.toml yet; runs will fail without one", file=sys.stderr
        )


def _print(schedule: Installed) -> None:
    print(f"schedule   {schedule.name}, by {schedule.scheduler}: {schedule.place}")
    print(f"times      {'; '.join(schedule.times)}")
    print(f"next       {schedule.next_at}")
    print(f"folder     {schedule.folder}")
    print(f"command    {schedule.command}")
