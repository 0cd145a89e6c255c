"""Read the wait time that the server requests, from the headers or the body."""

import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import urllib3

_LONGEST_BODY_BYTES = 2**18
_LONGEST_STATED_SECONDS = 7 * 86400.0
_EPOCH_AFTER = 10**9  # an X-RateLimit-Reset above this is a Unix time, below it a number of seconds


def read_wait_seconds(response: urllib3.BaseHTTPResponse) -> float | None:
    """Return the wait time in seconds, or None if the response has none."""
    stated = _retry_after(response.headers.get("Retry-After"))
    if stated is None:
        stated = _retry_after_in_body(response)
    if stated is None and response.status == 429:  # other responses have the header too
        stated = _rate_limit_reset(response.headers.get("X-RateLimit-Reset"))
    return None if stated is None else min(max(stated, 0.0), _LONGEST_STATED_SECONDS)


def _retry_after(value: str | None) -> float | None:
    """Read seconds or an HTTP date."""
    if not value:
        return None
    try:
        return _seconds(value)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _retry_after_in_body(response: urllib3.BaseHTTPResponse) -> float | None:
    try:
        content = json.loads(response.read(_LONGEST_BODY_BYTES, decode_content=True))
        return _seconds(str(content["retry_after"]))
    except (ValueError, TypeError, KeyError, RecursionError, urllib3.exceptions.HTTPError):
        return None


def _rate_limit_reset(value: str | None) -> float | None:
    try:
        reset = _seconds(value or "")
    except ValueError:
        return None
    return reset - time.time() if reset > _EPOCH_AFTER else reset


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError(text)
    return seconds
