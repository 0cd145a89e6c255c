"""Every measurement, the document, and how the results compare with the targets: `python -m tests.bench`."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from tests.bench import accounts, document, history, linear, reports, scale, shares, start
from tests.bench.compare import compare
from tests.bench.competitors import WAYS
from tests.bench.cost import BenchError
from tests.bench.results import Result, load
from tests.bench.targets import COMPARED, is_missed, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 120
LIMIT_OF_LARGE, LARGE_TRUNKS = 300, 1_000_000
LINEAR_ROUNDS = 3  # a round takes a minute, nearly all of it for the largest
PARTS = ("compare", start.NAME, linear.NAME, history.NAME, accounts.NAME, reports.NAME, scale.NAME, shares.NAME)


def positive(text: str) -> int:
    """Return the number if it is a positive one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"needs a number from 1 up, got {text!r}")
    return int(text)


def terminate(_signal: int, _frame: object) -> NoReturn:
    """End as after Ctrl-C: children and directories go first."""
    raise KeyboardInterrupt


def finish(result: Result, *, is_whole: bool = True) -> None:
    """Show the result, and keep it unless it is only a part."""
    print(f"\n{result.machine}\n{document.told(result)}", flush=True)
    if is_whole:
        result.save()


def limit_of(trunks: int) -> int:
    """Return the seconds that each competitor has for all its turns; slow ones need minutes for a million trunks."""
    return LIMIT_OF_LARGE if trunks >= LARGE_TRUNKS else LIMIT


def conclude(results: Mapping[str, Result]) -> int:
    """Say what came of the targets; return the exit code: 1 if any is missed."""
    verdicts = judge(results)
    print("\n".join(verdicts))
    return int(any(map(is_missed, verdicts)))


def bench(options: argparse.Namespace) -> int:
    """Measure what is asked for; return the exit code. Raises BenchError."""
    chosen = [way for way in WAYS if not options.only or options.only & {run.label for run in way.runs}]
    if "compare" in options.parts:
        for size in options.trunks:
            limit = limit_of(size) if options.limit is None else options.limit
            finish(compare(size, options.rounds, limit, chosen), is_whole=not options.only)
    if start.NAME in options.parts:
        finish(start.compare_starts(options.rounds))
    if linear.NAME in options.parts:
        finish(linear.compare_sizes(min(options.rounds, LINEAR_ROUNDS)))
    if history.NAME in options.parts:
        finish(history.compare_runs())
    if accounts.NAME in options.parts:
        finish(accounts.compare_accounts(min(options.rounds, LINEAR_ROUNDS)))
    if reports.NAME in options.parts:
        finish(reports.compare_reports(min(options.rounds, LINEAR_ROUNDS)))
    if scale.NAME in options.parts:
        finish(scale.compare_engines(min(options.rounds, LINEAR_ROUNDS)))
    if shares.NAME in options.parts:
        parts = shares.compare_shares(min(options.rounds, LINEAR_ROUNDS))
        print(shares.told(parts))
        shares.PICTURE.write_bytes(shares.draw(parts))
    document.write()
    return conclude({name: result for name in document.NAMES if (result := load(name))})


def main() -> int:
    """Return 0 if everything was measured, 1 if something of ours failed or missed a target, 130 if it was stopped."""
    labels = [run.label for way in WAYS for run in way.runs]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="every way of loading the trunks")
    parser.add_argument("--trunks", nargs="+", type=positive, default=COMPARED, metavar="N", help="sizes to compare at")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="turns of each (5)")
    limits = f"{LIMIT}; {LIMIT_OF_LARGE} from {LARGE_TRUNKS:,} trunks"
    parser.add_argument("--limit", type=int, metavar="SECONDS", help=f"for all turns of one ({limits})")
    parser.add_argument("--only", nargs="+", choices=labels, metavar="LABEL", help="compare these, and keep nothing")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (everything)")
    options = parser.parse_args()
    options.only = set(options.only or ())
    signal.signal(signal.SIGTERM, terminate)
    try:
        return bench(options)
    except BenchError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
