"""The follow-up of a run, successful or not: run log, metrics, webhook, and a summary in one line.

Errors here are warnings. They change neither the stored data nor the exit code.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sip_trunks.core.errors import DestinationError, RunActiveError, SipTrunksError, Terminated, describe_error
from sip_trunks.core.logs import log, say
from sip_trunks.core.settings import Settings
from sip_trunks.operations.monitoring.prometheus import write_metrics
from sip_trunks.operations.monitoring.webhook import TOTAL_SECONDS, notify
from sip_trunks.run.result import RunResult
from sip_trunks.run.run_log import note_run, summarize, summarize_failure
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.text import count_of

_SECONDS_TO_STOP = 1.5


def follow_up(settings: Settings, result: RunResult) -> None:
    """Record the result of a run, send notifications, and log a summary; print it unless stderr is a terminal.

    Notifications of interrupted runs are sent first.
    """
    for earlier in result.interrupted if settings.notify else ():
        send = partial(notify, settings, summarize(earlier), earlier, None, was_interrupted=True)
        _try("no notification was sent", send)
    run = summarize(result)
    _record(settings, run, result, None)
    (log if sys.stderr.isatty() else say)(logging.INFO, describe_run(run), **_as_event(settings, run))


def follow_up_failure(settings: Settings, error: BaseException, started_at: datetime) -> None:
    """Record that an error ended a run, send notifications, and log a summary. The caller prints the error."""
    run = summarize_failure(settings, error, started_at)
    _record(settings, run, None, error)
    log(logging.ERROR, f"{describe_run(run)}: {run['error']}", **_as_event(settings, run))


def _as_event(settings: Settings, run: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in run.items() if name != "failures"}
    return {"event": "run", "fields": row | {"destination": settings.destination}}


def _record(settings: Settings, run: Mapping[str, Any], result: RunResult | None, error: BaseException | None) -> None:
    # If the run could not write to the data directory, neither can these; one message is enough.
    tell = log if isinstance(error, OSError | DestinationError) else say
    _try("the run log was not written", partial(note_run, settings, run), tell)
    if isinstance(error, RunActiveError):
        return  # that run writes the metrics and sends the notifications
    _try("the metrics were not written", partial(write_metrics, settings, run, result), tell)
    is_interrupted = isinstance(error, KeyboardInterrupt)
    # After Ctrl-C the user knows. SIGTERM may come from a timer, and allows little time.
    if settings.notify and (not is_interrupted or isinstance(error, Terminated)):
        seconds = _SECONDS_TO_STOP if is_interrupted else TOTAL_SECONDS
        _try("no notification was sent", partial(notify, settings, run, result, error, total_seconds=seconds), tell)


def _try(problem: str, step: Callable[[], None], tell: Callable[..., None] = say) -> None:
    """Perform a step; if it fails, warn of the problem, only in the log if the disk failed and `tell` is `log`."""
    try:
        step()
    except Exception as reason:  # noqa: BLE001 - the run has ended, and its result must still be reported
        kind = "" if isinstance(reason, SipTrunksError | OSError) else f"{type(reason).__name__}: "
        warn = tell if isinstance(reason, OSError) else say
        warn(logging.WARNING, f"{problem}: {kind}{describe_error(reason)}")
    except KeyboardInterrupt:
        # The run has ended already. The next run sends unsent notifications.
        say(logging.WARNING, f"{problem}: stopped")


def describe_run(run: Mapping[str, Any]) -> str:
    """Return a row of `runs` as a summary in one line."""
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
        causes = f" of {count_of(run['cause_count'], 'cause')}" if run["cause_count"] else ""
        parts.append(f"findings {found + causes if found else 'none'}")
    if run["new_rule_count"]:
        parts.append(f"{count_of(run['new_rule_count'], 'finding')} of new rules")
    return "; ".join(parts)
