"""`schedule`: what it installs, what it leaves alone, and that what it installs works.

Schedulers are the machine's. Their commands are small programs here that keep what they are given, since no test may
change this machine's own schedules; the real ones judge the texts.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.lock import holding_lock
from sip_trunks.core.settings import find_shell_settings, read_settings
from sip_trunks.operations.scheduling import crontab, systemd
from sip_trunks.operations.scheduling.job import Job, describe_run
from sip_trunks.operations.scheduling.timetable import read_cron
from tests.support.builders import TRUNK
from tests.support.programs import put_on_path
from tests.support.runs import COMMAND, PATIENCE_SECONDS, TOKEN, as_another_user, call, start
from tests.tools.generated_docs import DEPLOYED

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.fixtures import Begin

CRONTAB = """#!/bin/sh
[ "$1" = -u ] && shift 2
case "$1" in
  -l) cat "$KEPT" 2> /dev/null || { echo "no crontab for somebody" >&2; exit 1; } ;;
  -) cat > "$KEPT" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$KEPT"
case "$*" in
  *"$REFUSED"*) echo "Unit is masked." >&2; exit 1 ;;
  *NextElapse*) echo "Thu 2026-11-26 00:07:00 UTC" ;;
esac
"""


@pytest.fixture
def kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which our `crontab` keeps what it is given; there is no systemd beside it."""
    put_on_path(place / "bin", "crontab", CRONTAB, monkeypatch)
    put_on_path(place / "bin", "systemctl", "#!/bin/sh\nexit 1\n", monkeypatch)
    monkeypatch.setenv("KEPT", str(place / "crontab"))
    (place / ".dlt").mkdir()
    return place / "crontab"


def verify(folder: Path, *, user: bool = False) -> str:
    """Return what systemd has to say against the units of a folder."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NOT TESTED WITH SYSTEMD, which is not there: apt-get install systemd")
    command = ["systemd-analyze", *(["--user"] if user else []), "--recursive-errors=no", "verify"]
    env = os.environ | {"XDG_RUNTIME_DIR": str(folder.parent)}
    done = subprocess.run([*command, *map(str, folder.iterdir())], capture_output=True, text=True, env=env)
    assert (done.returncode == 0) == (not done.stderr), done.stderr
    return done.stderr


def test_a_crontab_keeps_what_else_is_in_it(kept: Path) -> None:
    mine = "MAILTO=me\n# begin of mine\n0 0 * * *  echo 50\\%"
    kept.write_text(mine)
    printed = call("schedule", "install", "--every", "1h", "--cron", "--yes")
    installed = kept.read_text()
    assert installed.startswith(f"{mine}\n# begin sip-trunks in {kept.parent}")
    assert installed.removeprefix(f"{mine}\n").strip() in printed
    # A second one takes the place of the first.
    call("schedule", "install", "--every", "1h", "--cron", "--yes")
    assert kept.read_text() == installed
    call("schedule", "install", "--cron", "3 4 * * MON", "--yes", "--account", "default", "--destination", "parquet")
    assert "\n3 4 * * 1  cd " in kept.read_text()
    assert "sip-trunks run --account default --destination parquet 2>&1)" in kept.read_text()
    call("schedule", "install", "--every", "1d", "--cron", "--yes", "--name", "other")
    shown = call("schedule", "show")
    assert "sip-trunks, by cron" in shown
    assert "other, by cron" in shown
    installed = json.loads(call("schedule", "show", "--json"))
    assert [schedule["name"] for schedule in installed] == ["sip-trunks", "other"]
    expected = [{name: schedule[name] for name in ("name", "scheduler", "next_at")} for schedule in installed]
    assert json.loads(call("status", "--json"))["schedules"] == expected
    assert f"schedule   other, by cron; next run {installed[1]['next_at']}" in call("status")
    call("schedule", "remove", "--yes")
    assert kept.read_text().startswith(f"{mine}\n# begin other in")
    call("schedule", "remove", "--yes", "--name", "other")
    assert kept.read_text() == f"{mine}\n"
    assert "no schedule" in call("schedule", "remove", "--yes")
    assert "no schedule" in call("schedule", "show")


def test_nothing_is_installed_without_consent(kept: Path) -> None:
    shown = call("schedule", "install", "--every", "15min", "--cron", "--dry-run")
    assert "/15 * * * *" in shown
    assert "next runs" in shown
    assert "--yes" in call("schedule", "install", "--every", "15min", code=2)
    assert not kept.exists()
    # On a terminal it asks; a program that makes one answers.
    asking = [COMMAND, "schedule", "install", "--every", "1h", "--cron"]
    script = f"import pty, sys; sys.exit(pty.spawn({asking!r}) >> 8)"
    for answer, outcome in (("n\n", "nothing was installed"), ("y\n", "installed;")):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, input=answer, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert "install this? [y/N]" in done.stdout
        assert outcome in done.stdout
    assert kept.exists()


def test_neither_a_token_nor_anything_else_of_the_shell_goes_into_a_schedule(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["schedule", "install", "--every", "1h", "--cron", "--yes"]
    done = start(*command)
    assert TOKEN not in kept.read_text() + done.stdout + done.stderr
    seen = find_shell_settings()
    assert {"FAMULOR_API_KEY", "SOURCES__FAMULOR__BASE_URL"} <= set(seen)
    assert ", ".join(seen) in done.stderr
    assert str(kept.parent / ".dlt" / "secrets.toml") in done.stderr
    for name in seen:
        monkeypatch.delenv(name)
    assert "there is no token in" in start(*command).stderr
    (kept.parent / ".dlt" / "secrets.toml").write_text(f'[sources.famulor]\napi_token = "{TOKEN}"\n')
    assert start(*command).stderr == ""
    assert TOKEN not in kept.read_text()


def test_a_scheduler_that_does_not_run_here_is_refused(kept: Path) -> None:
    assert "try --cron" in call("schedule", "install", "--every", "1h", "--systemd", "--yes", code=2)
    assert not kept.exists()


def test_a_schedule_of_another_folder_is_not_replaced(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("schedule", "install", "--every", "1h", "--cron", "--yes")
    (kept.parent / "elsewhere" / ".dlt").mkdir(parents=True)
    monkeypatch.chdir(kept.parent / "elsewhere")
    assert "--name" in call("schedule", "install", "--every", "1h", "--cron", "--yes", code=2)
    kept.write_text(kept.read_text().replace("# end", "# and"))
    assert "crontab -e" in call("schedule", "install", "--every", "1h", "--cron", "--yes", code=2)


def test_a_crontab_that_refuses_stays_as_it_is(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(kept.parent / "bin", "crontab", "#!/bin/sh\necho 'disk full' >&2\nexit 1\n", monkeypatch)
    assert "disk full" in call("schedule", "install", "--every", "1h", "--cron", "--yes", code=7)


def test_the_line_of_a_crontab_runs_and_speaks_only_when_it_fails(kept: Path, api: Api, begin: Begin) -> None:
    begin(TRUNK)
    asked = len(api.requests)
    folder = kept.parent / "it's 100% here"
    (folder / ".dlt").mkdir(parents=True)
    settings = read_settings()
    job = describe_run(settings, "sip-trunks", read_cron("7 * * * *"), accounts=[], destination=None)
    line = crontab.line_of(replace(job, folder=folder, command=(COMMAND, "run", "--no-reports")))
    assert "100\\% here" in line

    def called() -> subprocess.CompletedProcess[str]:
        # As cron does it: what follows the five fields, where \\% is a percent sign.
        return subprocess.run(
            ["/bin/sh", "-c", line.split(maxsplit=5)[5].replace("\\%", "%")], capture_output=True, text=True
        )

    done = called()
    assert (done.stdout, done.stderr) == ("", "")
    assert len(api.requests) == asked + 1
    with holding_lock(settings):
        done = called()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    api.answer(b"{}", 401)
    assert "does not accept the token" in called().stdout


def test_systemd_takes_the_units_whatever_the_paths_are_called(tmp_path: Path) -> None:
    folder = tmp_path / "100% of $HOME; it is here"
    program = folder / ".venv" / "bin" / "sip-trunks"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    job = Job("sip-trunks", read_cron("*/5 0 1,15 * 5"), (str(program), "run"), folder, (folder / "data",))
    for is_system in (True, False):
        units = tmp_path / f"units-{is_system}"
        units.mkdir()
        (units / "sip-trunks.service").write_text(systemd.service_of(job, is_system=is_system))
        (units / "sip-trunks.timer").write_text(systemd.timer_of(job))
        assert verify(units, user=not is_system) == ""
    program.unlink()
    assert str(program) in verify(units, user=True)


@pytest.fixture
def units(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's units. A `systemctl` answers that notes its calls in `calls`."""
    home = kept.parent
    put_on_path(home / "bin", "systemctl", SYSTEMCTL, monkeypatch)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KEPT", str(home / "calls"))
    # By this name the machine is asked who lingers, and it may know the user who runs the tests.
    monkeypatch.setenv("LOGNAME", "zz_nobody_lingers")
    # Another user, as which root's tests run the command, must leave no files beside the code.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return home / ".config" / "systemd" / "user"


def schedule(*arguments: str, refused: str = "nothing") -> subprocess.CompletedProcess[str]:
    """Call `schedule` as an ordinary user, since root's units are the machine's; systemd refuses calls with a word."""
    env = os.environ | {"REFUSED": refused}
    command = as_another_user([COMMAND, "schedule", *arguments])
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=env)


def test_a_users_units_are_written_started_shown_and_removed(units: Path, place: Path) -> None:
    done = schedule("install", "--every", "6h", "--systemd", "--yes")
    assert done.returncode == 0, done.stderr
    assert "enable-linger" in done.stdout
    for unit in units.iterdir():
        assert f"# {unit}\n{unit.read_text()}" in done.stdout
    assert {unit.name for unit in units.iterdir()} == {"sip-trunks.service", "sip-trunks.timer"}
    service = dict(re.findall(r"^(\w+)=(.*)$", (units / "sip-trunks.service").read_text(), flags=re.MULTILINE))
    assert service["WorkingDirectory"] == str(place)
    assert shlex.split(service["Environment"]) == [f"SIP_TRUNKS__DATA_DIR={place}/data"]
    program, *arguments = shlex.split(service["ExecStart"])
    # The same program by another name, where the environment is reached through a link.
    assert Path(program).samefile(COMMAND)
    assert arguments == ["run"]
    changing = [line for line in (place / "calls").read_text().splitlines() if "show" not in line]
    assert changing == [
        "--user --no-ask-password daemon-reload",
        "--user --no-ask-password enable sip-trunks.timer",
        "--user --no-ask-password restart sip-trunks.timer",
    ]
    assert "next       Thu 2026-11-26 00:07:00 UTC" in schedule("show").stdout
    # Another scheduler beside it would run everything twice.
    assert "schedule remove" in schedule("install", "--every", "1h", "--cron", "--yes").stderr
    assert schedule("remove", "--yes").returncode == 0
    assert list(units.iterdir()) == []


def test_units_that_systemd_refuses_and_units_of_others_are_named(units: Path) -> None:
    refused = schedule("install", "--every", "6h", "--yes", refused="enable")
    assert refused.returncode == 7
    assert "Unit is masked." in refused.stderr
    (units / "sip-trunks.timer").write_text("[Timer]\n")
    refused = schedule("install", "--every", "6h", "--yes")
    assert (refused.returncode, (units / "sip-trunks.timer").read_text()) == (2, "[Timer]\n")


def test_the_real_crontab_takes_and_gives_back_the_block(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0 or shutil.which("crontab") is None:
        pytest.skip("NOT TESTED WITH CRON: it takes a crontab, and root's rights to use another's: that of nobody")
    if subprocess.run(["crontab", "-u", "nobody", "-l"], capture_output=True).returncode == 0:
        pytest.skip("NOT TESTED WITH CRON: nobody has a crontab already")
    # What root installs runs as the user whose the data is.
    read_settings().data_dir.mkdir()
    shutil.chown(read_settings().data_dir, pwd.getpwnam("nobody").pw_uid)
    try:
        assert "the crontab of nobody" in call("schedule", "install", "--every", "1h", "--cron", "--yes")
        installed = subprocess.run(["crontab", "-u", "nobody", "-l"], capture_output=True, text=True).stdout
        assert installed in call("schedule", "install", "--every", "1h", "--cron", "--dry-run")
        call("schedule", "remove", "--yes")
        assert subprocess.run(["crontab", "-u", "nobody", "-l"], capture_output=True, text=True).stdout == ""
    finally:
        subprocess.run(["crontab", "-u", "nobody", "-r"], capture_output=True)


def test_the_units_to_copy_are_sound(tmp_path: Path) -> None:
    units = [path for path in DEPLOYED if path.parent.name == "systemd"]
    assert {path.name for path in units} == {"sip-trunks.service", "sip-trunks.timer"}
    for path in units:
        # This machine has neither that folder nor that user.
        text = (
            path.read_text().replace("/srv/sip-trunks/.venv/bin/sip-trunks", COMMAND).replace("User=sip-trunks\n", "")
        )
        (tmp_path / path.name).write_text(text)
    assert verify(tmp_path) == ""
