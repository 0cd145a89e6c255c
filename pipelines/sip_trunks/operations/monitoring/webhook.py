"""News of a run for a webhook, as Slack and those that understand the same JSON take it: `{"text": "…"}`.

Said is what somebody would want to know at once: a failure, once and then once a day; that it is over; new findings,
new drift, changed trunks. A run that has none of it says nothing. What could not be sent comes with the next run.
"""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from sip_trunks.core.errors import SipTrunksError, UsageError, name_some
from sip_trunks.core.files import write_whole
from sip_trunks.core.http import Connections, is_loopback
from sip_trunks.run.result import without_name
from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.schema.reports import SEVERITIES
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sip_trunks.core.settings import Settings
    from sip_trunks.run.result import AccountResult, RunResult

TOTAL_SECONDS = 10.0
"""How long telling may take in all."""

_TIMEOUT = urllib3.Timeout(connect=3.0, read=5.0)
_WAIT_SECONDS = (0.5, 1.5, 0.0)
_LONGEST_WAIT_SECONDS = 3.0
_TELL_AGAIN_AFTER = timedelta(days=1)
_MOST_LINES = 20
_LONGEST_LINE = 300
_MANY_DIGITS = re.compile(r"\+?\(?\d(?:[ ()./-]{0,3}\d){5,}")
_HARMLESS = re.compile(r"\d{4}-\d\d-\d\d|\d{1,3}(?:\.\d{1,3}){3}")  # a date, an IPv4 address
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class NotificationError(SipTrunksError):
    """The webhook did not take the message."""


@dataclass(frozen=True)
class _Memory:
    """What was said before: of the failure that goes on, if one does, and what could not be sent."""

    failure: str | None = None
    failing_since: str | None = None
    told_at: str | None = None
    unsent: tuple[str, ...] = ()


def check_address(settings: Settings) -> None:
    """Raise UsageError unless the webhook's address is https, or http to this machine; the address is a secret."""
    try:
        parts = urlsplit(settings.notify)
        host = parts.hostname or ""
        is_sound = bool(host) and parts.port != 0 and not (parts.username or parts.password)
    except ValueError:
        is_sound, host = False, ""
    if not is_sound or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise UsageError(
            "sip_trunks.notify needs the address of a webhook, https://host/path (http only on this machine), without "
            "user and password"
        )


def notify(
    settings: Settings,
    run: Mapping[str, Any],
    result: RunResult | None,
    error: BaseException | None,
    *,
    total_seconds: float = TOTAL_SECONDS,
) -> None:
    """Tell the webhook the news of a run, a row of `runs`, if there are any.

    Raises UsageError if it has no usable address, NotificationError if it cannot be told, OSError if what was said cannot be
    noted.
    """
    check_address(settings)
    memory, now = _recall(settings), datetime.now(UTC)
    failure = _identify_failure(run, result)
    is_told = failure == memory.failure and memory.told_at is not None and _is_recent(memory.told_at, now)
    failures: list[str] = []
    news = list(memory.unsent)
    after = replace(memory, unsent=())
    if failure is None:
        if memory.failure is not None and "recovery" in settings.notify_on:
            news.append(f"works again; it had failed since {memory.failing_since}")
        after = _Memory()
    elif not is_told:
        since = memory.failing_since or _as_minute(run["started_at"])
        after = _Memory(failure, since, now.isoformat())
        if "failure" in settings.notify_on:
            failures += _describe_failure(run, result, error)
            failures += [f"it has failed since {since}"] if memory.failure else []
    if result is not None:
        news += _describe_news(settings, result)
    if failures or news:
        # Whatever ends this early, the next run tells it: a failure that goes on is described anew.
        told_at = None if failures else after.told_at
        with suppress(OSError):
            _remember(settings, replace(after, told_at=told_at, unsent=tuple(news[-_MOST_LINES:])))
        _post_in_time(settings.notify, _as_message([*failures, *news]), total_seconds)
    elif after == memory:
        return
    _remember(settings, after)


def forget_news(settings: Settings, account: str) -> None:
    """Leave news of an account unsaid that could not be sent so far. Raises OSError."""
    memory = _recall(settings)
    kept = tuple(line for line in memory.unsent if without_name(line, account) == line)
    if kept != memory.unsent:
        _remember(settings, replace(memory, unsent=kept))


def _identify_failure(run: Mapping[str, Any], result: RunResult | None) -> str | None:
    """Return a mark of what failed and how, which the next run has too if nothing has changed; None if nothing did."""
    if run["exit_code"] == 0:
        return None
    failed = [(entry.account, entry.exit_code) for entry in result.accounts if entry.error] if result else []
    return sha256(repr((run["exit_code"], sorted(failed))).encode()).hexdigest()[:16]


def _describe_failure(run: Mapping[str, Any], result: RunResult | None, error: BaseException | None) -> list[str]:
    if result is None:
        # What a library says of an error that nobody foresaw may quote values.
        is_ours = error is None or isinstance(error, SipTrunksError | InvalidResponseError | KeyboardInterrupt)
        reason = run["error"] if is_ours else f"{type(error).__name__}; sip-trunks status says more"
        return [f"the run failed with exit code {run['exit_code']}: {_safe(reason)}"]
    failed = [entry for entry in result.accounts if entry.error]
    count = f": {len(failed)} of {len(result.accounts)} accounts" if failed and len(result.accounts) > 1 else ""
    return [f"the run failed with exit code {run['exit_code']}{count}", *map(_safe, result.failures)]


def _describe_news(settings: Settings, result: RunResult) -> Iterator[str]:
    if "findings" in settings.notify_on:
        least = SEVERITIES.index(settings.notify_severity)
        severe = [f for f in result.findings or () if f.new_count and SEVERITIES.index(f.severity) >= least]
        severe.sort(key=lambda found: SEVERITIES.index(found.severity), reverse=True)
        if severe:
            told = ", ".join(f"{found.new_count} {found.severity} of {found.rule}" for found in severe)
            total = sum(found.new_count for found in severe)
            yield f"{total} new {'finding' if total == 1 else 'findings'}: {told}"
    if "drift" in settings.notify_on:
        for entry in result.accounts:
            drift = [seen for seen in entry.drift if seen.first_seen_at == result.snapshot_at]
            if drift:
                told = ", ".join(f"{_safe(seen.column_name, 60)} ({seen.kind})" for seen in drift)
                yield f"{entry.account}: new drift: {told}"
    if "changes" in settings.notify_on:
        loaded = [entry for entry in result.accounts if entry.status == "loaded" and any(_changes(entry))]
        if loaded:
            new, changed, removed = map(sum, zip(*map(_changes, loaded), strict=True))
            names = name_some([entry.account for entry in loaded])
            yield f"trunks: {new} new, {changed} changed, {removed} removed ({names})"


def _changes(entry: AccountResult) -> tuple[int, int, int]:
    return entry.new_count or 0, entry.changed_count or 0, entry.removed_count or 0


def _as_message(lines: Sequence[str]) -> str:
    """Return the text of a message in which nothing is Slack's markup, whatever the lines have in them."""
    kept = [line[:_LONGEST_LINE] for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        kept.append(f"… and {len(lines) - _MOST_LINES} more lines: sip-trunks status")
    head = f"sip-trunks on {socket.gethostname()}"
    text = f"{head}: {kept[0]}" if len(kept) == 1 else "\n".join([head, *(f"• {line}" for line in kept)])
    return text.translate(_ESCAPED)


def _safe(text: str, most: int = _LONGEST_LINE) -> str:
    """Return text that may quote what the API sent: on one line, without anything that could be a phone number."""
    return _MANY_DIGITS.sub(lambda found: found[0] if _HARMLESS.fullmatch(found[0]) else "…", printable(text, most))


def _post_in_time(address: str, text: str, total_seconds: float) -> None:
    """Send a message as `_post` does, which cannot be sure of its time: to look up a name has no limit."""
    problems: list[Exception] = []

    def post() -> None:
        try:
            _post(address, text, total_seconds)
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
            problems.append(error)

    sender = Thread(target=post, daemon=True)
    sender.start()
    sender.join(total_seconds)
    if sender.is_alive():
        raise NotificationError(
            f"the webhook was not told within {total_seconds:g} s; sip_trunks.notify has its address"
        )
    if problems:
        raise problems[0]


def _post(address: str, text: str, total_seconds: float) -> None:
    """Send a message, again if the webhook is not at fault for good. Raises NotificationError."""
    body = json.dumps({"text": text}).encode()
    end, reason = time.monotonic() + total_seconds, ""
    with Connections() as connections, connections.limited(address, total_seconds) as pool:
        for wait in _WAIT_SECONDS:
            try:
                response = pool.request(
                    "POST",
                    address,
                    body=body,
                    headers={"Content-Type": "application/json"},
                    timeout=_TIMEOUT,
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
                status, retry_after = response.status, response.headers.get("Retry-After", "")
                response.close()
            except (urllib3.exceptions.HTTPError, OSError) as error:
                reason, retry_after = f"it gave no answer ({type(error).__name__})", ""
            else:
                if 200 <= status < 300:
                    return
                reason = f"it answers with HTTP {status}"
                if status < 500 and status not in (408, 429):
                    break
            pause = min(float(retry_after), _LONGEST_WAIT_SECONDS) if retry_after.isdecimal() else wait
            if not wait or time.monotonic() + pause > end:
                break
            time.sleep(pause)
    raise NotificationError(f"the webhook was not told: {reason}; sip_trunks.notify has its address")


def _recall(settings: Settings) -> _Memory:
    """Return what was said before; what is no memory of ours counts as nothing."""
    with suppress(OSError, ValueError, TypeError, LookupError):
        noted = json.loads(_path(settings).read_text("utf-8"))
        memory = _Memory(**noted | {"unsent": tuple(map(str, noted["unsent"]))})
        if all(isinstance(text, str | None) for text in (memory.failure, memory.failing_since, memory.told_at)):
            return memory
    return _Memory()


def _remember(settings: Settings, memory: _Memory) -> None:
    write_whole(_path(settings), json.dumps(asdict(memory)).encode())


def _is_recent(told_at: str, now: datetime) -> bool:
    with suppress(ValueError, TypeError):
        return now - datetime.fromisoformat(told_at) < _TELL_AGAIN_AFTER
    return False


def _as_minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _path(settings: Settings) -> Path:
    return settings.state_dir / "notified.json"
