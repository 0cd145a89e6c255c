"""What follows a run, however it ended: the log of the runs, the metrics, the webhook, and one line that sums it up.

None of it changes what was stored or the exit code: what goes wrong here is a warning.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from sip_trunks.core.errors import RunActiveError, SipTrunksError, Terminated, describe_error
from sip_trunks.core.logs import log, say
from sip_trunks.operations.monitoring.prometheus import write_metrics
from sip_trunks.operations.monitoring.webhook import TOTAL_SECONDS, notify
from sip_trunks.run.run_log import note_run, summarize, summarize_failure
from trunk_transforms.schema.reports import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sip_trunks.core.settings import Settings
    from sip_trunks.run.result import RunResult

_SECONDS_TO_STOP = 1.5


def follow_up(settings: Settings, result: RunResult) -> None:
    """Note and tell how a run ended, and sum it up in one line: in the log and, where nobody observations on, to be piped."""
    run = summarize(result)
    _spread(settings, run, result, None)
    (log if sys.stderr.isatty() else say)(logging.INFO, describe_run(run), **_as_event(settings, run))


def follow_up_failure(settings: Settings, error: BaseException, started_at: datetime) -> None:
    """Note and tell that an error ended a run, which whoever called says."""
    run = summarize_failure(settings, error, started_at)
    _spread(settings, run, None, error)
    log(logging.ERROR, f"{describe_run(run)}: {run['error']}", **_as_event(settings, run))


def _as_event(settings: Settings, run: Mapping[str, Any]) -> dict[str, Any]:
    return {"event": "run", "fields": {**run, "destination": settings.destination}}


def _spread(settings: Settings, run: Mapping[str, Any], result: RunResult | None, error: BaseException | None) -> None:
    steps: list[tuple[str, Callable[[], None]]] = [
        ("the run is not in the log of the runs", lambda: note_run(settings, run)),
    ]
    # That another run is active is no news of these trunks; that one will tell.
    if not isinstance(error, RunActiveError):
        steps += _tellings(settings, run, result, error)
    for what, step in steps:
        try:
            step()
        except Exception as problem:  # noqa: BLE001 - the run has ended as it has, and whoever waits is to hear of that
            kind = "" if isinstance(problem, SipTrunksError | OSError) else f"{type(problem).__name__}: "
            say(logging.WARNING, f"{what}: {kind}{describe_error(problem)}")
        except KeyboardInterrupt:
            # Too late to stop the run; news that are not sent yet come with the next one.
            say(logging.WARNING, f"{what}: stopped")


def _tellings(
    settings: Settings, run: Mapping[str, Any], result: RunResult | None, error: BaseException | None
) -> list[tuple[str, Callable[[], None]]]:
    steps: list[tuple[str, Callable[[], None]]] = [
        ("the metrics are not written", lambda: write_metrics(settings, run, result)),
    ]
    is_interrupted = isinstance(error, KeyboardInterrupt)
    # Who pressed Ctrl-C knows; who sent SIGTERM may be a timer, and waits for no answer.
    if settings.notify and (not is_interrupted or isinstance(error, Terminated)):
        seconds = _SECONDS_TO_STOP if is_interrupted else TOTAL_SECONDS
        steps.append(("no news were sent", lambda: notify(settings, run, result, error, total_seconds=seconds)))
    return steps


def describe_run(run: Mapping[str, Any]) -> str:
    """Return a row of `runs` as one line."""
    seconds = (run["ended_at"] - run["started_at"]).total_seconds()
    parts = [f"exit code {run['exit_code']} after {seconds:.1f} s"]
    if run["loaded_count"] is not None:
        statuses = ("loaded", "unchanged", "failed")
        parts.append(", ".join(f"{run[f'{status}_count']} {status}" for status in statuses))
    if run["trunk_count"] is not None:
        changes = ", ".join(f"{run[f'{change}_count']} {change}" for change in ("new", "changed", "removed"))
        parts += [f"trunks {run['trunk_count']} ({changes})", f"drift {run['drift_count']}"]
    counts = [(name, run[f"{name}_count"]) for name in reversed(SEVERITIES)]
    if counts[0][1] is not None:
        found = ", ".join(f"{count} {name}" for name, count in counts if count)
        parts.append(f"findings {found or 'none'}")
    return "; ".join(parts)
