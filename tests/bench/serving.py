"""The server of the answers, as a process of its own, and where each answer is."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.answer import HOST, TOKEN, TRUNKS_PATH, Fingerprint, Moment
from tests.bench.cost import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Served:
    """One answer of the server: where it is, and what must be stored of it."""

    place: str
    body_bytes: int
    body_sha256: str
    fingerprint: Fingerprint

    @property
    def base_url(self) -> str:
        """Return the address of the API."""
        return f"{self.place}/api"

    def variables(self) -> dict[str, str]:
        """Return what a competitor is told of it, by environment variables."""
        return {
            "BENCH_TOKEN": TOKEN,
            "BENCH_BASE_URL": self.base_url,
            "BENCH_URL": f"{self.base_url}/{TRUNKS_PATH}",
            "BENCH_BARE_URL": f"{self.place}/bare",
            "FAMULOR_API_KEY": TOKEN,
            "SOURCES__FAMULOR__BASE_URL": self.base_url,
        }


@contextmanager
def serving(
    sizes: Iterable[int], moments: Iterable[Moment] = (Moment.FIRST,)
) -> Iterator[Mapping[tuple[int, Moment], Served]]:
    """Yield the answer of each size and moment, until this context or this process ends."""
    sizes, moments = list(sizes), list(moments)
    say(f"generating {max(sizes):,} trunks")
    command = (sys.executable, "-m", "tests.bench.answer", *map(str, sizes), "--moments", *moments)
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                raise BenchError("the server did not start")
            facts = json.loads(line)
            served = {}
            for size in sizes:
                for moment in moments:
                    body_bytes, sha256, fingerprint = facts["answers"][f"/{size}/{moment}"]
                    place = f"http://{HOST}:{facts['port']}/{size}/{moment}"
                    served[size, moment] = Served(place, body_bytes, sha256, Fingerprint(*fingerprint))
            yield served
        finally:
            process.kill()


def say(text: str) -> None:
    """Tell a waiting person what goes on, apart from the result."""
    print(f"… {text}", file=sys.stderr, flush=True)
