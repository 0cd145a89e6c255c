"""The command `schedule`: install, show or remove a schedule. Every change is shown before it is made."""

import shutil
import sys
from datetime import datetime
from itertools import islice
from types import ModuleType

from sip_trunks.commands.options import Options, Parser, add_options, confirm
from sip_trunks.core.accounts import has_stored_token, pick_accounts
from sip_trunks.core.errors import UsageError
from sip_trunks.core.settings import Settings, find_shell_settings, is_plain_name
from sip_trunks.operations.scheduling import crontab, systemd
from sip_trunks.operations.scheduling.installed import find_schedules
from sip_trunks.operations.scheduling.job import Installed, Job, describe_run, offset_minutes, owner_of
from sip_trunks.operations.scheduling.timetable import Timetable, read_cron, read_interval
from sip_trunks.reporting.formats import print_json


def add_arguments(parser: Parser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    adding = actions.add_parser("install", help="show the schedule and its files, ask, and install it")
    adding.add_argument("--every", metavar="TIME", help="interval between runs: 15min, 1h, 6h, 1d")
    adding.add_argument(
        "--cron",
        nargs="?",
        const="",
        metavar="EXPRESSION",
        help='use cron; with an expression such as "7 * * * *" instead of --every',
    )
    adding.add_argument("--systemd", action="store_true", help="use a systemd timer (default: if systemd responds)")
    add_options(adding, "--account")
    adding.add_argument("--dry-run", action="store_true", help="show the schedule and install nothing")
    add_options(adding, "--destination")
    showing = actions.add_parser("show", help="show installed schedules and their next times")
    showing.add_argument("--json", action="store_true", help="print one JSON array")
    removing = actions.add_parser("remove", help="show the schedule, ask, and remove it")
    for action, function in ((adding, _install), (showing, _show), (removing, _remove)):
        action.set_defaults(act=function)
    for action in (adding, removing):
        action.add_argument("--name", default="sip-trunks", help="name of the schedule (default: sip-trunks)")
        add_options(action, "--yes")


def run(settings: Settings, options: Options) -> int:
    """Install, show or remove a schedule."""
    options.act(settings, options)
    return 0


def _install(settings: Settings, options: Options) -> None:
    """Show the schedule and its files; then, unless it is a dry run, ask and install it. Raises UsageError."""
    if not is_plain_name(options.name):
        raise UsageError(f"--name needs letters, digits, '.', '-' and '_', got {options.name!r}")
    timetable = _timetable(settings, options)
    scheduler = _scheduler(options)
    if options.account:
        pick_accounts(settings, options.account)
    job = describe_run(settings, options.name, timetable, accounts=options.account, destination=options.destination)
    for title, text in scheduler.render(job):
        print(f"# {title}\n{text}")
    # Both schedulers use the machine's local time.
    times = islice(timetable.after(datetime.now()), 3)  # noqa: DTZ005
    print(f"next runs  {', '.join(f'{time:%Y-%m-%d %H:%M}' for time in times)}, local time")
    sys.stdout.flush()
    _warn(settings)
    if options.dry_run:
        return
    _refuse_conflict(job, scheduler, find_schedules(settings))
    if not _confirm("install this?", options):
        print("nothing was installed")
        return
    # A systemd service that is confined to folders starts only if they exist.
    for folder in job.writable:
        if not folder.exists():
            folder.mkdir(parents=True)
            if job.user:
                shutil.chown(folder, job.user)
    scheduler.install(job)
    print("installed; next time: sip-trunks schedule show; last run: sip-trunks status")
    if scheduler is systemd and not systemd.lingers():
        print("it pauses while you are logged out; to keep it running: loginctl enable-linger")


def _show(settings: Settings, options: Options) -> None:
    """Print the schedules that are installed."""
    found = find_schedules(settings)
    if options.json:
        print_json([vars(schedule) for schedule in found])
        return
    if not found:
        print("no schedule: sip-trunks schedule install --every 1h")
    for number, schedule in enumerate(found):
        print("\n" if number else "", end="")
        _print(schedule)


def _remove(settings: Settings, options: Options) -> None:
    """Show the schedule of that name, ask, and remove it; the data stays."""
    found = [schedule for schedule in find_schedules(settings) if schedule.name == options.name]
    if not found:
        print(f"no schedule named {options.name} is installed")
        return
    for schedule in found:
        _print(schedule)
    sys.stdout.flush()
    if not _confirm("remove this?", options):
        print("nothing was removed")
        return
    for schedule in found:
        if schedule.scheduler == "systemd":
            systemd.remove(schedule.name)
        else:
            crontab.remove(schedule.name, owner_of(settings))
    print("removed; the stored data is unchanged")


def _timetable(settings: Settings, options: Options) -> Timetable:
    if bool(options.every) == bool(options.cron):
        raise UsageError('use either --every 1h or a cron expression: --cron "7 * * * *"')
    if options.every:
        return read_interval(options.every, offset_minutes(settings))
    return read_cron(options.cron)


def _scheduler(options: Options) -> ModuleType:
    """Return the scheduler: systemd with `--systemd`, else cron with `--cron`, else systemd if it responds, else cron.

    Raises UsageError for `--systemd` together with `--cron` without an expression.
    """
    if options.systemd and options.cron == "":
        raise UsageError("--systemd and --cron cannot be combined; use one of them")
    uses_cron = options.cron is not None or (not options.systemd and systemd.find_problem())
    return crontab if uses_cron and not options.systemd else systemd


def _refuse_conflict(job: Job, scheduler: ModuleType, found: list[Installed]) -> None:
    """Raise UsageError if the scheduler does not work here, or the name is that of another folder or scheduler."""
    if problem := scheduler.find_problem():
        raise UsageError(problem)
    for other in found:
        if other.name == job.name and other.folder != str(job.folder):
            raise UsageError(f"the schedule {job.name} is for {other.folder}; choose another name with --name")
        if other.name == job.name and other.scheduler != scheduler.NAME:
            option = "" if job.name == "sip-trunks" else f" --name {job.name}"
            raise UsageError(
                f"{job.name} is installed with {other.scheduler} ({other.place}); remove it first: "
                f"sip-trunks schedule remove{option}"
            )


def _confirm(question: str, options: Options) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("confirmation needs a terminal; use --yes, or --dry-run to only show the schedule")
    return confirm(question)


def _warn(settings: Settings) -> None:
    """Warn about settings that a scheduled run does not have, because it has no shell."""
    unseen = find_shell_settings()
    folder = settings.config_dir or ".dlt"
    if unseen:
        warning = (
            f"the schedule will not see variables of this shell ({', '.join(unseen)}): write them to "
            f"{folder}/config.toml, tokens and passwords to {folder}/secrets.toml"
        )
    elif not has_stored_token():
        warning = f"there is no token in {folder}/secrets.toml yet; runs fail without one"
    else:
        return
    print(f"sip-trunks: {warning}", file=sys.stderr)


def _print(schedule: Installed) -> None:
    print(f"schedule   {schedule.name}, by {schedule.scheduler}: {schedule.place}")
    print(f"times      {'; '.join(schedule.times)}")
    print(f"next       {schedule.next_at}")
    print(f"folder     {schedule.folder}")
    print(f"command    {schedule.command}")
