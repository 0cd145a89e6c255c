"""A real PostgreSQL on loopback: one server per session, a fresh database for every test.

As root (containers) the server runs as `postgres` or `nobody`, since PostgreSQL refuses root, in a folder that this
user can enter. It also ends when pytest is killed: its guard waits for the end of a pipe.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import pytest

from tests.support.runs import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USER = "loader"
_GUARD = """
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ cat <&3 >/dev/null; kill -INT "$server"; } 2>/dev/null &
wait "$server"
: >"$folder/ended"
cat <&3 >/dev/null
rm -rf "$folder"
"""
"""Runs the server, shuts it down (SIGINT: fast) at the end of standard input, however that came about, and tidies."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server; its one role is a superuser."""

    port: int
    password: str
    folder: Path
    version: int

    def url(self, database: str = "postgres") -> str:
        """Return the connection string for dlt, psycopg2 or DuckDB."""
        return f"postgresql://{USER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement of its own (no transaction: CREATE DATABASE and the like) and return its rows, if any."""
        import psycopg2

        with closing(psycopg2.connect(self.url(database), connect_timeout=PATIENCE_SECONDS)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for all tests of the session; without PostgreSQL they skip."""
    try:
        import psycopg2  # noqa: F401
    except ImportError:
        _skip("psycopg2 is not installed; pip install psycopg2-binary")
    binaries = _find_binaries()
    if binaries is None:
        _skip("no PostgreSQL server found; apt-get install postgresql")
    user = _unprivileged_user()
    parent = _enterable_folder(is_own=user is None)
    for _ in range(5):
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
        try:
            password = _make_cluster(binaries, folder, user)
            port = _free_port()
            guard = _start(binaries, folder, port, user)
            try:
                version = _wait_until_ready(guard, folder, port, password)
                if version is not None:
                    yield PostgresServer(port, password, folder, version)
                    return
                log = _read_log(folder)
            finally:
                _stop(guard)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if "could not bind" not in log:  # somebody took the port in between
            break
    pytest.fail(f"PostgreSQL does not start:\n{log}")


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database that nobody else uses; gone after the test, whoever is still connected to it."""
    name = f"test_{secrets.token_hex(6)}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield postgres_server.url(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _skip(reason: str) -> NoReturn:
    pytest.skip(f"NOT TESTED AGAINST POSTGRESQL: {reason}")


def _enterable_folder(*, is_own: bool) -> Path:
    """Return a folder for temporary files that the server's user can enter, which is this one or another.

    Its path is short as well: that of a socket in it has at most 107 bytes. pytest's own folder is neither.
    """
    for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        folder = Path(candidate).resolve()
        everyone_enters = all(path.is_dir() and path.stat().st_mode & 0o001 for path in (folder, *folder.parents))
        if len(os.fsencode(folder)) < 60 and os.access(folder, os.W_OK | os.X_OK) and (is_own or everyone_enters):
            return folder
    _skip("no folder for temporary files that every user can enter; chmod 1777 /tmp")


def _find_binaries() -> Path | None:
    """Return the folder that holds `initdb` and `postgres`: Debian's newest, on the PATH, or where pg_config says."""
    numbered = (path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit())
    candidates = sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            candidates.append(Path(asked.stdout.strip()))
    tools = ("initdb", "postgres")
    return next((path for path in candidates if all(os.access(path / tool, os.X_OK) for tool in tools)), None)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return the user to run the server as, or None for our own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    _skip("this is root, and there is no user postgres or nobody to run the server as; apt-get install postgresql")


def _as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments of `subprocess` that start a program as that user, away from our terminal's Ctrl-C."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    options: dict[str, Any] = {"env": environment | {"LC_ALL": "C"}, "start_new_session": True}
    if user is not None:
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return options


def _make_cluster(binaries: Path, folder: Path, user: pwd.struct_passwd | None) -> str:
    """Make an empty database cluster in the folder and return its password."""
    password = f"{secrets.token_hex(8)}@/:%?#"  # what a URL has to escape
    password_file = folder / "password"
    password_file.write_text(password + "\n", "utf-8")
    password_file.chmod(0o600)
    if user is not None:
        for path in (password_file, folder):
            os.chown(path, user.pw_uid, user.pw_gid)
    made = subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", password_file, "--auth=scram-sha-256",
         "--encoding=UTF8", "--locale=C", "--no-sync"],
        cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        **_as_user(user),
    )  # fmt: skip
    if made.returncode:
        pytest.fail(f"initdb failed as {user.pw_name if user else 'this user'}:\n{made.stdout}{made.stderr}")
    return password


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(binaries: Path, folder: Path, port: int, user: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "fsync": "off",  # a killed client loses nothing by it, only a crashed machine would
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "autovacuum": "on",
        "logging_collector": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server: Sequence[Any] = [binaries / "postgres", "-D", folder / "data", *options]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", folder, *server],
            cwd="/", stdin=subprocess.PIPE, stdout=log, stderr=log, **_as_user(user),
        )  # fmt: skip


def _read_log(folder: Path) -> str:
    return (folder / "log").read_text("utf-8", "replace")[-4000:]


def _wait_until_ready(guard: subprocess.Popen[bytes], folder: Path, port: int, password: str) -> int | None:
    """Return the server's version, or None if it did not start. Fails if it neither answers nor ends."""
    import psycopg2

    deadline = time.monotonic() + PATIENCE_SECONDS
    while guard.poll() is None and not (folder / "ended").exists():
        try:
            connection = psycopg2.connect(
                host="127.0.0.1",
                port=port,
                user=USER,
                password=password,
                dbname="postgres",
                connect_timeout=PATIENCE_SECONDS,
            )
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not answer on port {port}: {error}\n{_read_log(folder)}")
            time.sleep(0.05)
            continue
        with closing(connection):
            return int(connection.server_version)
    return None


def _stop(guard: subprocess.Popen[bytes]) -> None:
    """End the server in an orderly way; if it does not, end the session of the guard and all that is in it."""
    if guard.stdin is not None:
        guard.stdin.close()
    try:
        guard.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(guard.pid, 9)
        guard.wait()
