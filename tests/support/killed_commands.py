"""Commands that are killed at a chosen step, in processes that are forked from one that has imported everything.

A step is a change of a file or a look into a folder below the working directory, as Python's audit reports it. So a
kill hits the same moment on every machine, and costs no start of Python.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from tests.support.lakes import places_with
from tests.support.past import store
from tests.support.processes import wait_until
from tests.support.runs import PROJECT, call
from tests.support.transfers import AUDITS, MOMENTS, NEXT, answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.api import Api
    from tests.support.postgres_server import PostgresServer

COMMANDS = {
    "run": ["run", "--accept-shrink", "--no-reports"],
    "forget": ["accounts", "forget", "beta", "--yes"],
    "rename": ["accounts", "rename", "beta", "gamma"],
    "prune": ["prune", "--older-than", "400d", "--yes"],
    "import": ["import", "source"],
    "export": ["export", "--output", "copy"],
}
KILLS = 5
_EVENTS = ("os.", "shutil.")


@dataclass(frozen=True)
class Forks:
    """A process from which commands are forked."""

    requests: IO[str]
    results: IO[str]

    def call(self, arguments: Sequence[str], killed_at: int = 0) -> tuple[int, int]:
        """Return the exit code of a command and the number of its steps, 0 if it was killed at a step."""
        order = {"arguments": arguments, "at": killed_at, "folder": str(Path.cwd()), "environment": dict(os.environ)}
        self.requests.write(json.dumps(order) + "\n")
        self.requests.flush()
        code, steps = json.loads(self.results.readline())
        return code, steps


@contextmanager
def forking() -> Iterator[Forks]:
    command = [sys.executable, "-m", "tests.support.killed_commands"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Forks(process.stdin, process.stdout)
        process.stdin.close()


@dataclass(frozen=True)
class Database:
    """A database of a server in which the commands store, if they do not store in files."""

    server: PostgresServer
    name: str

    def keep(self) -> None:
        """Keep the content for `restore`."""
        self.server.execute(f"CREATE DATABASE {self.name}_before TEMPLATE {self.name}")

    def restore(self, *, is_empty: bool) -> None:
        """Go back to the content that was kept, or to none."""
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        template = "template0" if is_empty else f"{self.name}_before"
        self.server.execute(f"CREATE DATABASE {self.name} TEMPLATE {template}")

    def wait_for_the_end_of_sessions(self) -> None:
        """Wait until the server has noticed that a process is dead."""
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.name}'"
        wait_until(lambda: self.server.execute(query) == [(0,)], "the sessions of a dead process end")


def assert_killed_command_is_finished(  # noqa: C901 - a story, told in one go
    forks: Forks, api: Api, name: str, database: Database | None = None, kills: int = KILLS
) -> None:
    """Assert that a command that was killed anywhere and is called again stores what it stores undisturbed."""
    arguments, data = COMMANDS[name], Path("data")

    def begin_again() -> None:
        for folder in ("data", "copy"):
            shutil.rmtree(folder, ignore_errors=True)
        if Path("before").exists():
            shutil.copytree("before", "data", symlinks=True)
        if database:
            database.restore(is_empty=name == "import")

    store(read_settings(), answers())
    if database:
        database.keep()
    call("export", "--output", "source")
    for account, trunks in NEXT.items():
        api.answer_to(f"token-{account}", list(trunks))
    if name == "import":
        shutil.rmtree(data)
    if data.exists():
        data.rename("before")
    begin_again()
    code, steps = forks.call(arguments)
    assert code == 0
    expected = _stored(name, database)
    # Half of the kills are in the last steps, in which a command publishes.
    for step in (
        *(steps * (n + 1) // (kills // 2 + 1) for n in range(kills // 2)),
        *(max(1, steps - 3 * n) for n in range(kills - kills // 2)),
    ):
        at = step
        begin_again()
        # Threads of dlt make the number of steps vary a little: one that is too late is followed by an earlier one.
        while forks.call(arguments, killed_at=at)[0] != -signal.SIGKILL:
            at = at * 9 // 10
            begin_again()
        if database:
            database.wait_for_the_end_of_sessions()
        code, _ = forks.call(arguments)
        # One that was killed at its very end has nothing left to do.
        assert code == 0 or (code == 2 and name != "run"), (name, at, code)
        found = _stored(name, database)
        assert found == expected, (name, at, [table for table in expected if found[table] != expected[table]])
        if name == "forget":
            assert places_with("beta") == set(), at
        status = json.loads(call("status", "--json"))
        assert (status["is_work_pending"], status["leftovers"], status["unfinished"]) == (False, [], []), (name, at)
        assert [path.name for path in Path().glob(".*")] == [], (name, at)


def _stored(name: str, database: Database | None) -> Any:
    """Return the rows of all tables; the times and the loads of the run are words, its repetition is left out."""
    settings = read_settings()
    if name == "export":
        shutil.rmtree("data")
        if database:
            database.restore(is_empty=True)
        assert call("import", "copy")
    with open_destination(settings).reading() as connection:
        observed = "SELECT count(*) FROM sip_trunk_snapshots"
        assert connection.execute(observed).fetchall() != [(0,)]
        found: dict[str, Any] = {}
        tables = connection.execute("SELECT DISTINCT table_name FROM duckdb_columns() WHERE schema_name = 'famulor'")
        for (table,) in sorted(tables.fetchall()):
            # The findings are written after the rest of an import; without them, the next run audits.
            if table.startswith("_dlt") or (name == "import" and table in AUDITS):
                continue
            where = f"snapshot_at <= '{MOMENTS[-1]}' OR NOT is_unchanged" if table == "sip_trunk_snapshots" else "true"
            if table == "sip_trunk_snapshot_rows":
                where = "snapshot_at IN (SELECT snapshot_at FROM famulor.sip_trunk_snapshots)"
            columns = "COLUMNS(name -> name <> '_dlt_load_id')"
            rows = connection.execute(f"SELECT {columns} FROM famulor.{table} WHERE {where}").fetchall()
            found[table] = sorted(repr([_timeless(value) for value in row]) for row in rows)
    return found


def _timeless(value: Any) -> Any:
    return (
        "the run"
        if isinstance(value, datetime) and value > MOMENTS[-1].astimezone(UTC) and value.year < 3000
        else value
    )


# ---------------------------------------------------------------------- the process


def _serve() -> None:
    import deltalake
    import dlt.destinations
    import duckdb
    import pandas
    import pyarrow.parquet
    import vl_convert

    from sip_trunks.commands import main

    del deltalake, dlt, duckdb, pandas, pyarrow, vl_convert
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.chdir(order["folder"])
            os.environ.clear()
            os.environ.update(order["environment"])
            for stream in (1, 2):
                os.dup2(os.open("printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            steps = _count_steps(order["folder"], order["at"])
            code = main(order["arguments"])
            os.write(writing, str(steps[0]).encode())
            os._exit(code)
        os.close(writing)
        with open(reading) as pipe:  # noqa: PTH123 - a descriptor is not a path
            text = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, int(text or 0)]), flush=True)


def _count_steps(folder: str, killed_at: int) -> list[int]:
    """Count the steps of this process from now on, and kill it before that one."""
    steps = [0]

    def step(event: str, values: tuple[Any, ...]) -> None:
        is_write = event == "open" and bool(values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if (is_write or event.startswith(_EVENTS)) and values and folder in str(values[0]):
            steps[0] += 1
            if steps[0] == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(step)
    return steps


if __name__ == "__main__":
    _serve()
