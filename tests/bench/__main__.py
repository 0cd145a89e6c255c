"""Every measurement, the document, and how the results compare with the targets: `python -m tests.bench`."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import NoReturn

from tests.bench import accounts, document, linear, reports, scale, shares, start
from tests.bench.compare import compare
from tests.bench.competitors import WAYS
from tests.bench.cost import BenchError
from tests.bench.results import Result, load
from tests.bench.targets import COMPARED, judge

LIMIT = 120
LINEAR_ROUNDS = 3  # a round takes a minute, nearly all of it for the largest
PARTS = ("compare", start.NAME, linear.NAME, accounts.NAME, reports.NAME, scale.NAME, shares.NAME)


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


def bench(options: argparse.Namespace) -> None:
    """Measure what is asked for. Raises BenchError."""
    chosen = [way for way in WAYS if not options.only or options.only & {run.label for run in way.runs}]
    if "compare" in options.parts:
        for size in options.trunks:
            finish(compare(size, options.rounds, options.limit, chosen), is_whole=not options.only)
    if start.NAME in options.parts:
        finish(start.compare_starts(options.rounds))
    if linear.NAME in options.parts:
        finish(linear.compare_sizes(min(options.rounds, LINEAR_ROUNDS)))
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
    results = {name: result for name in document.NAMES if (result := load(name))}
    print("\n".join(judge(results)))


def main() -> int:
    """Return 0 if everything was measured, 1 if something of ours failed, 130 if it was stopped."""
    labels = [run.label for way in WAYS for run in way.runs]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="every way of loading the trunks")
    parser.add_argument("--trunks", nargs="+", type=positive, default=COMPARED, metavar="N", help="sizes to compare at")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="turns of each (5)")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="SECONDS", help=f"for all turns of one ({LIMIT})")
    parser.add_argument("--only", nargs="+", choices=labels, metavar="LABEL", help="compare these, and keep nothing")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (everything)")
    options = parser.parse_args()
    options.only = set(options.only or ())
    signal.signal(signal.SIGTERM, terminate)
    try:
        bench(options)
    except BenchError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
