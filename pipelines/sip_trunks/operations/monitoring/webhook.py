"""Notifications of a run for a webhook, in the JSON that Slack and compatible services accept: `{"text": "…"}`.

A message reports a failure (once, then once a day), a recovery, new findings, new drift and changed trunks. Findings
that a new release opened are no news about an account, and are not sent. A run without any of these sends nothing. If
sending fails, the next run sends the message.
"""

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Thread
from typing import Annotated, Any

import msgspec
import urllib3

from sip_trunks.core.errors import SipTrunksError, name_some
from sip_trunks.core.files import read_json, write_whole
from sip_trunks.core.http import Connections
from sip_trunks.core.settings import Settings
from sip_trunks.core.urls import check_webhook_url
from sip_trunks.run.result import RuleFindings, RunResult, with_name
from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.schema.findings import SEVERITIES
from trunk_transforms.text import count_of, printable

TOTAL_SECONDS = 10.0
"""Time limit for sending a message, in seconds."""

_FILE = "notified.json"
_TIMEOUT = urllib3.Timeout(connect=3.0, read=5.0)
_TRANSIENT = {408, 429, *range(500, 600)}
_RETRIES = urllib3.Retry(
    2, allowed_methods=None, status_forcelist=_TRANSIENT, raise_on_status=False, backoff_factor=1.0, retry_after_max=3
)
_REPEAT_AFTER = timedelta(days=1)
_MAX_LINES = 20
_MAX_LINE_LENGTH = 300
_MANY_DIGITS = re.compile(r"\+?\(?\d(?:[ ()./-]{0,3}\d){5,}")
_HARMLESS = re.compile(r"\d{4}-\d\d-\d\d|\d{1,3}(?:\.\d{1,3}){3}")  # a date, an IPv4 address
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class NotificationError(SipTrunksError):
    """The webhook did not accept the message."""


@dataclass(frozen=True)
class _State:
    """The state between runs: the ongoing failure, when it was last sent, and lines that could not be sent.

    `last_run` is the start of the last run with events; they are among the lines, or sent.
    """

    failure: str | None = None
    failing_since: str | None = None
    told_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    unsent: tuple[str, ...] = ()
    last_run: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


def notify(
    settings: Settings,
    run: Mapping[str, Any],
    result: RunResult | None,
    error: BaseException | None,
    *,
    total_seconds: float = TOTAL_SECONDS,
    was_interrupted: bool = False,
) -> None:
    """Send a message about a run (a row of `runs`) to the webhook, unless there is nothing to report.

    If the run `was_interrupted`, it may have stored its message before; it is not sent twice.

    Raises ConfigError if the URL is not valid, NotificationError if sending fails, and OSError if the state cannot be
    written.
    """
    check_webhook_url("sip_trunks.notify", settings.notify)
    before, now = _read_state(settings), datetime.now(UTC)
    failure = _identify_failure(run, result)
    # If the clock was ahead, it may have been sent in the future.
    age = now - before.told_at if before.told_at else _REPEAT_AFTER
    is_sent = failure == before.failure and timedelta(0) <= age < _REPEAT_AFTER
    failures: list[str] = []
    lines = list(before.unsent)
    after = replace(before, unsent=())
    if failure is None:
        if before.failure is not None and "recovery" in settings.notify_on:
            lines.append(f"works again; failed since {before.failing_since}")
        after = _State(last_run=before.last_run)
    elif not is_sent:
        since = before.failing_since or f"{run['started_at']:%Y-%m-%d %H:%M} UTC"
        after = _State(failure, since, now, last_run=before.last_run)
        if "failure" in settings.notify_on:
            failures += _describe_failure(run, result, error)
            failures += [f"failing since {since}"] if before.failure else []
    if result is not None and not (was_interrupted and run["started_at"] == before.last_run):
        events = list(_describe_events(settings, result))
        lines += events
        after = replace(after, last_run=run["started_at"]) if events else after
    if failures or lines:
        # If sending is interrupted, the next run sends these lines, and describes an ongoing failure again.
        told_at = None if failures else after.told_at
        with suppress(OSError):
            _write_state(settings, replace(after, told_at=told_at, unsent=tuple(lines[-_MAX_LINES:])))
        _post_in_time(settings.notify, _as_message([*failures, *lines]), total_seconds)
    elif after == before:
        return
    _write_state(settings, after)


def rename_notifications(settings: Settings, old: str, new: str | None) -> None:
    """Rename an account in the unsent lines; if `new` is None, delete the lines that name it. Raises OSError."""
    state = _read_state(settings)
    kept = [line for line in state.unsent if new or with_name(line, old, "") == line]
    renamed = tuple(with_name(line, old, new or "") for line in kept)
    if renamed != state.unsent:
        _write_state(settings, replace(state, unsent=renamed))


def _identify_failure(run: Mapping[str, Any], result: RunResult | None) -> str | None:
    """Return a hash of the failed accounts and exit codes, equal for repeated failures; None if the run succeeded."""
    if run["exit_code"] == 0:
        return None
    failed = [(entry.account, entry.exit_code) for entry in result.accounts if entry.error] if result else []
    return sha256(repr((run["exit_code"], sorted(failed))).encode()).hexdigest()[:16]


def _describe_failure(run: Mapping[str, Any], result: RunResult | None, error: BaseException | None) -> list[str]:
    if result is None:
        # The message of an unexpected error may quote values.
        is_ours = error is None or isinstance(error, SipTrunksError | InvalidResponseError | KeyboardInterrupt)
        reason = run["error"] if is_ours else f"{type(error).__name__}; for details: sip-trunks status"
        return [f"the run failed with exit code {run['exit_code']}: {_safe(reason)}"]
    failed = [entry for entry in result.accounts if entry.error]
    count = f": {len(failed)} of {len(result.accounts)} accounts" if failed and len(result.accounts) > 1 else ""
    return [f"the run failed with exit code {run['exit_code']}{count}", *map(_safe, result.failures)]


def _describe_events(settings: Settings, result: RunResult) -> Iterator[str]:
    if "findings" in settings.notify_on:
        least = SEVERITIES.index(settings.notify_severity)
        severe = [f for f in result.findings or () if f.new_count and SEVERITIES.index(f.severity) >= least]
        severe.sort(key=lambda found: SEVERITIES.index(found.severity), reverse=True)
        if severe:
            listed = ", ".join(map(_describe_news, severe))
            total = sum(found.new_count for found in severe)
            yield f"{total} new {'finding' if total == 1 else 'findings'}: {listed}"
    if "drift" in settings.notify_on:
        for entry in result.accounts:
            drift = [seen for seen in entry.drift if seen.first_seen_at == result.snapshot_at]
            if drift:
                listed = ", ".join(f"{_safe(seen.column_name, 60)} ({seen.kind})" for seen in drift)
                yield f"{entry.account}: new drift: {listed}"
    if "changes" in settings.notify_on:
        names = [e.account for e in result.accounts if any((e.new_count, e.changed_count, e.removed_count))]
        if names:
            _, new, changed, removed, _ = result.totals.values()
            yield f"trunks: {new} new, {changed} changed, {removed} removed ({name_some(names)})"


def _describe_news(found: RuleFindings) -> str:
    """Return the new findings of a rule in words: how many causes are new, and how many known ones have more trunks.

    Causes are counted and not quoted, because they name hosts and usernames.
    """
    trunks = [(found.new_count - found.added_count, "trunk"), (found.added_count, "more trunk")]
    causes = [(found.new_cause_count, "cause"), (found.known_cause_count, "known cause")]
    parts = [f"{count_of(*cause)}, {count_of(*trunk)}" for cause, trunk in zip(causes, trunks, strict=True) if cause[0]]
    return f"{found.new_count} {found.severity} of {found.rule}" + (f" ({'; '.join(parts)})" if parts else "")


def _as_message(lines: Sequence[str]) -> str:
    """Return the text of a message, shortened, with Slack's markup escaped."""
    kept = [line[:_MAX_LINE_LENGTH] for line in lines[:_MAX_LINES]]
    if len(lines) > _MAX_LINES:
        kept.append(f"… and {len(lines) - _MAX_LINES} more lines: sip-trunks status")
    head = f"sip-trunks on {socket.gethostname()}"
    text = f"{head}: {kept[0]}" if len(kept) == 1 else "\n".join([head, *(f"• {line}" for line in kept)])
    return text.translate(_ESCAPED)


def _safe(text: str, most: int = _MAX_LINE_LENGTH) -> str:
    """Return text that may quote the API as one line, with everything that may be a phone number replaced by `…`."""
    return _MANY_DIGITS.sub(lambda found: found[0] if _HARMLESS.fullmatch(found[0]) else "…", printable(text, most))


def _post_in_time(address: str, text: str, total_seconds: float) -> None:
    """Send a message in a thread, because resolving a host name has no time limit. Raises NotificationError."""
    problems: list[Exception] = []

    def post() -> None:
        try:
            _post(address, text, total_seconds)
        except Exception as error:  # noqa: BLE001 - it is raised again below
            problems.append(error)

    sender = Thread(target=post, daemon=True)
    sender.start()
    sender.join(total_seconds)
    if sender.is_alive():
        raise NotificationError(f"no response within {total_seconds:g} s; sip_trunks.notify sets the URL")
    if problems:
        raise problems[0]


def _post(address: str, text: str, total_seconds: float) -> None:
    """Send a message. Retries after errors that may be temporary. Raises NotificationError."""
    with Connections() as connections, connections.limited(address, total_seconds) as pool:
        try:
            response = pool.request(
                "POST", address, json={"text": text}, timeout=_TIMEOUT, retries=_RETRIES, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = f"no response ({type(getattr(error, 'reason', error)).__name__})"
        else:
            if 200 <= response.status < 300:
                return
            reason = f"the response is HTTP {response.status}"
    raise NotificationError(f"{reason}; sip_trunks.notify sets the URL")


def _read_state(settings: Settings) -> _State:
    """Return the stored state, or an empty state if the file does not exist or is not valid."""
    return read_json(settings.state_dir / _FILE, _State) or _State()


def _write_state(settings: Settings, state: _State) -> None:
    write_whole(settings.state_dir / _FILE, msgspec.json.encode(state))
