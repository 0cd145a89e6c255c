"""What a command costs, with every process that it starts: CPU, wall, peak memory.

    Popen ──▶ wait4: CPU of the process and of all children it has waited for, peak of the largest of them
         └──▶ a thread that adds up, every `INTERVAL`, what all of them hold at that moment

The peak is the higher of the two. Resident memory is added up as it is: a page that two processes share counts twice,
and a file that is mapped counts as far as it was read. On Linux a child starts with its parent's peak, so whoever
measures imports nothing heavy and stays at some 20 MB.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

INTERVAL = 0.03  # seconds from one look at the memory to the next
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in one unit of ru_maxrss
GRACE = 1.0  # seconds that processes may take to notice that the one that started them is gone
PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """A command failed, or stored something else than was served."""


class OutOfTimeError(Exception):
    """A command did not finish in its time."""


class Cost(NamedTuple):
    """What one run of a command cost."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    disk_mb: float = 0.0


def measure(
    command: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    limit: float = 0,
    on_look: Callable[[int], None] = lambda _: None,
) -> Cost:
    """Return what it costs to run the command in the folder, which afterwards has its `output.txt`.

    `on_look` gets the resident bytes of all its processes, each time that these are added up.

    Raises BenchError, with its last words, if it fails, OutOfTimeError if it exceeds the limit; 0 is no limit.
    """
    os.sync()  # nobody waits for the disk on account of the one before
    output_file = folder / "output.txt"
    with output_file.open("wb") as output, (folder / "errors.txt").open("wb") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        with _killed_at_the_end(process), _limited(limit), _watched(process.pid, on_look) as watch:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            # What goes on behind our back, nobody would count.
            if process.returncode == 0 and _stays_alive(process.pid):
                raise BenchError(f"{' '.join(command)} left processes behind")
    if process.returncode:
        words = "".join(path.read_text(errors="replace")[-2000:] for path in (output_file, folder / "errors.txt"))
        raise BenchError(f"{' '.join(command)} ended with {process.returncode}:\n{words}")
    peak = max(usage.ru_maxrss * RSS_UNIT, watch.peak)
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak / 1e6)


@contextmanager
def _killed_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            process.wait()


def _stays_alive(group: int) -> bool:
    """Whether there are processes of a group whose first one has ended, once those that end with it have."""
    end = time.monotonic() + GRACE
    while _is_alive(group):
        if time.monotonic() > end:
            return True
        time.sleep(INTERVAL)
    return False


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    # Those that have ended are there until their parent, which may be nobody who cares, has taken note of it.
    return not Path("/proc").exists() or any(map(partial(_is_running_in, group), Path("/proc").glob("[0-9]*/stat")))


def _is_running_in(group: int, stat: Path) -> bool:
    with suppress(OSError):
        state, _, process_group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
        return state != "Z" and int(process_group) == group
    return False


def _out_of_time(_signal: int, _frame: object) -> NoReturn:
    raise OutOfTimeError


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """End the wait after that time; wait4 has no limit of its own."""
    before = signal.signal(signal.SIGALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Watch(Thread):
    """Looks at the memory of a process and its descendants until told to stop; where there is no /proc, it is 0."""

    def __init__(self, pid: int, on_look: Callable[[int], None]) -> None:
        super().__init__(daemon=True)
        self.pid, self.on_look, self.peak, self.stopped = pid, on_look, 0, Event()

    def run(self) -> None:
        while not self.stopped.wait(INTERVAL):
            resident = _resident(self.pid)
            self.peak = max(self.peak, resident)
            self.on_look(resident)


@contextmanager
def _watched(pid: int, on_look: Callable[[int], None]) -> Iterator[_Watch]:
    watch = _Watch(pid, on_look)
    watch.start()
    try:
        yield watch
    finally:
        watch.stopped.set()
        watch.join()


def _resident(pid: int) -> int:
    """Return the resident bytes of the process and its descendants."""
    place, total = Path("/proc", str(pid)), 0
    with suppress(OSError):  # it has ended
        total = int((place / "statm").read_bytes().split()[1]) * PAGE
        for task in (place / "task").iterdir():
            total += sum(map(_resident, map(int, (task / "children").read_bytes().split())))
    return total
