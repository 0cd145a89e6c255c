"""Whether a run of many accounts takes as long as their answers: `python -m tests.bench --parts accounts`.

A server of its own process answers each token with the trunks of its account, after a pause such as an API takes. What
a loader cannot be faster than is the same downloads by the same number of connections, with nothing done about them.

`python -m tests.bench.accounts serve ACCOUNTS TRUNKS` is that server, with `LATER` one that says something else when it
is asked again; `… download` those downloads.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING

from tests.bench.answer import END, HOST, START, TRUNKS_PATH, Moment, build_answer
from tests.bench.compare import environment
from tests.bench.cost import BenchError, measure
from tests.bench.results import Result, Row
from tests.bench.serving import PROJECT, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "accounts"
SIZES = (100, 1000, 3000)
TRUNKS = 100
AT_ONCE = 8  # our default, sources.famulor.concurrency
PAUSE_SECONDS = 0.05
_DOWNLOAD = (sys.executable, "-m", "tests.bench.accounts", "download")
_RUN = ("sip-trunks", "run", "--no-reports")
_TURNS: tuple[dict[str, tuple[str, ...]], ...] = (
    {"the downloads alone": _DOWNLOAD},
    {"run --no-reports, first": _RUN, "run --no-reports, unchanged": _RUN},
    {"run, first": ("sip-trunks", "run")},
)


def compare_accounts(rounds: int) -> Result:
    """Return what a run costs for each number of accounts. Raises BenchError."""
    rows = {
        (size, way): Row(f"{size:,} accounts: {way}", "downloads" if way in _TURNS[0] else "loads")
        for size in SIZES
        for turn in _TURNS
        for way in turn
    }
    for size in SIZES:
        with serving(size) as port:
            for number in range(rounds):
                for turn in random.Random(number).sample(_TURNS, len(_TURNS)):
                    with TemporaryDirectory(prefix="sip-trunks-bench-") as home:
                        folder = Path(home)
                        variables = configure(folder, size, port)
                        for way, command in turn.items():
                            row = rows[size, way]
                            say(row.label)
                            row.runs.append(measure(command, folder, variables))
                            if row.does == "loads":
                                _refuse_less_than(size * TRUNKS, folder / "output.txt")
    about = (
        f"Accounts of {TRUNKS} trunks each, {AT_ONCE} requests at a time, responses after {PAUSE_SECONDS * 1000:.0f} ms"
    )
    return Result(NAME, about, {row.label: row for row in rows.values()})


def _refuse_less_than(trunks: int, output: Path) -> None:
    """Raise BenchError unless the run says that so many trunks are stored."""
    if f"\ntrunks     {trunks}: " not in output.read_text("utf-8"):
        raise BenchError(f"a run of {trunks} trunks says something else:\n{output.read_text('utf-8')}")


def configure(folder: Path, accounts: int, port: int) -> dict[str, str]:
    """Write the accounts' tokens where a run finds them; return its environment."""
    settings = folder / ".dlt"
    settings.mkdir()
    lines = [f'account-{number:05} = "{_token(number)}"' for number in range(accounts)]
    (settings / "secrets.toml").write_text("\n".join(["[sources.famulor.accounts]", *lines]), "utf-8")
    return environment(folder) | {
        "SOURCES__FAMULOR__BASE_URL": f"http://{HOST}:{port}/api",
        "BENCH_PORT": str(port),
        "BENCH_ACCOUNTS": str(accounts),
        "PYTHONPATH": str(PROJECT),
    }


def _token(number: int) -> str:
    return f"token-{number:05}"


@contextmanager
def serving(accounts: int, trunks: int = TRUNKS, *moments: Moment) -> Iterator[int]:
    """Yield the port at which each account's token gets its trunks, as of one moment after the other."""
    say(f"generating {accounts:,} accounts")
    names = [moment.name for moment in moments]
    command = (sys.executable, "-m", "tests.bench.accounts", "serve", str(accounts), str(trunks), *names)
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _build_bodies(accounts: int, count: int, moment: Moment) -> list[bytes]:
    """Return the answer of each account, which has the same trunks at every moment but for those that come and go."""
    parts: list[list[object]] = [[] for _ in range(accounts)]
    for trunk in json.loads(build_answer(count, moment).body)["data"]:
        parts[trunk["id"] % accounts].append(trunk)
    return [START + json.dumps(part).encode() + END for part in parts]


async def _serve(accounts: int, count: int, moments: Sequence[Moment]) -> None:
    """Answer until standard input ends, so that nobody outlives the process that started this one."""
    editions = [_build_bodies(accounts, count, moment) for moment in moments]
    left = {_token(number): [bodies[number] for bodies in editions] for number in range(accounts)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                answers = left[head.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode()]
                body = answers.pop(0) if len(answers) > 1 else answers[0]
                await asyncio.sleep(PAUSE_SECONDS)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def _download(port: int, accounts: int) -> None:
    """Fetch every account's answer, so many at once, and do nothing with it."""
    left: SimpleQueue[int] = SimpleQueue()
    for number in range(accounts):
        left.put(number)

    def work() -> None:
        connection = http.client.HTTPConnection(HOST, port)
        with suppress(Empty):
            while True:
                headers = {"Authorization": f"Bearer {_token(left.get_nowait())}"}
                connection.request("GET", f"/api/{TRUNKS_PATH}", headers=headers)
                connection.getresponse().read()

    workers = [Thread(target=work) for _ in range(AT_ONCE)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        accounts, trunks, *names = sys.argv[2:]
        moments = [Moment[name] for name in names] or [Moment.FIRST]
        asyncio.run(_serve(int(accounts), int(accounts) * int(trunks), moments))
    else:
        _download(int(os.environ["BENCH_PORT"]), int(os.environ["BENCH_ACCOUNTS"]))
