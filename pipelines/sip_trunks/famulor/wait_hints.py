"""Read the wait time that the server requests, from the headers or the body."""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import urllib3

_LONGEST_BODY_BYTES = 2**18
_LONGEST_STATED_SECONDS = 7 * 86400.0
_EPOCH_AFTER = 10**9  # an X-RateLimit-Reset above this is a Unix time, below it a number of seconds


def read_wait_seconds(response: urllib3.BaseHTTPResponse) -> float | None:
    """Return the wait time in seconds, or None if the response has none."""
    for read in (_retry_after, _retry_after_in_body, _rate_limit_reset):
        with suppress(ValueError, TypeError, KeyError, RecursionError, urllib3.exceptions.HTTPError):
            return min(max(read(response), 0.0), _LONGEST_STATED_SECONDS)
    return None


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Read seconds or an HTTP date."""
    value = response.headers["Retry-After"]
    with suppress(ValueError):
        return _seconds(value)
    moment = parsedate_to_datetime(value)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _retry_after_in_body(response: urllib3.BaseHTTPResponse) -> float:
    content = json.loads(response.read(_LONGEST_BODY_BYTES, decode_content=True))
    return _seconds(str(content["retry_after"]))


def _rate_limit_reset(response: urllib3.BaseHTTPResponse) -> float:
    # Responses that refuse nothing have the header too.
    reset = _seconds(response.headers["X-RateLimit-Reset"] if response.status == 429 else "")
    return reset - time.time() if reset > _EPOCH_AFTER else reset


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError(text)
    return seconds
