"""One snapshot of an account over HTTP: all of it, or an error that says why not.

The body is spooled to a temporary file while it downloads, and read only when it is complete: a connection that
breaks in the middle is a retry, not a short snapshot. The token goes to the configured origin and nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import random
import ssl
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from sip_trunks import __version__
from sip_trunks.core.errors import ApiRefusedError, ApiUnreachableError
from sip_trunks.core.http import Connections
from sip_trunks.famulor.links import endpoint_url, next_page_url, resolve_link
from sip_trunks.famulor.rate_limit import Pace
from sip_trunks.famulor.spool import SpooledRecords, let_go
from sip_trunks.famulor.wait_hints import read_wait_seconds
from trunk_transforms.parse.envelope import InvalidResponseError, read_page

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from sip_trunks.core.settings import Account, ApiSettings

_CHUNK_BYTES = 2**18
_SMALL_BYTES = 2**20  # what is not more than this stays in memory: a thousand accounts need no thousand open files
_MOST_REDIRECTS = 5
_MOST_PAGES = 10_000
_LONGEST_BACKOFF_SECONDS = 60.0
_TRANSIENT = frozenset({408, 425, 429})


@dataclass(frozen=True)
class RawSnapshot:
    """One complete answer for one account, not typed yet.

    `records` are the trunks as raw JSON; null where the body is, to the byte, the one the caller knows already.
    `body_bytes` and `body_sha256` are of the decompressed answer, over all its pages.
    """

    account: str
    body_bytes: int
    body_sha256: str
    records: SpooledRecords | None

    def observation(
        self,
        snapshot_at: datetime,
        *,
        trunk_count: int,
        drift_count: int,
        is_unchanged: bool | None,
        loader_version: str = __version__,
    ) -> dict[str, object]:
        """Return the row of `sip_trunk_snapshots` for this snapshot."""
        return {
            "account": self.account,
            "snapshot_at": snapshot_at,
            "trunk_count": trunk_count,
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_sha256,
            "drift_count": drift_count,
            "is_unchanged": is_unchanged,
            "loader_version": loader_version,
        }


class _TransientError(Exception):
    """Worth another attempt, after `wait_seconds` if the server said so."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


def fetch_snapshot(
    account: Account,
    settings: ApiSettings,
    *,
    known_sha256: str | None = None,
    spool_dir: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    connections: Connections | None = None,
    pace: Pace | None = None,
    secret: bytes | None = None,
) -> RawSnapshot:
    """Return the account's trunks as the API answers now.

    Every page belongs to the one snapshot. An answer whose SHA-256 is `known_sha256` is not read again. Who fetches
    several accounts keeps the `connections` from one to the next, and the `pace` of each token. With a `secret`,
    nothing of the answer touches a disk, and SHA-256 is HMAC-SHA256 with it: a plain hash of a short answer could be
    guessed.
    Raises ConfigError for an address that must not see the token, ApiRefusedError for a client error,
    ApiUnreachableError when attempts or time are used up, InvalidResponseError for an answer that is no list of trunks.
    """
    url = endpoint_url(settings.base_url)
    small_bytes = sys.maxsize if secret else _SMALL_BYTES
    fetcher = _Fetcher(account, settings, url, spool_dir, announce, pace or Pace(), small_bytes)
    digest = hmac.new(secret, digestmod="sha256") if secret else hashlib.sha256()
    records = SpooledRecords()
    total: int | None = None
    size, seen, next_url = 0, {url}, url
    with ExitStack() as stack:
        kept = connections or stack.enter_context(Connections())
        pool = stack.enter_context(kept.limited(url, settings.total_seconds))
        while True:
            body = fetcher.fetch(pool, next_url, settings.max_body_bytes - size)
            digest.update(body)
            size += len(body)
            if next_url == url and digest.hexdigest() == known_sha256:
                return RawSnapshot(account.name, size, digest.hexdigest(), None)
            let_go(body)
            page = read_page(body)
            records.add(body, page.records)
            total = page.total if page.total is not None else total
            if page.next_page is None:
                break
            next_url = next_page_url(url, page.next_page)
            if next_url in seen or len(seen) >= _MOST_PAGES:
                raise InvalidResponseError("expected pages that end, got a paging link to a page that was read already")
            seen.add(next_url)
    if total is not None and total != len(records):
        raise InvalidResponseError(
            f"expected the {total} trunks that the answer's `total` names, got {len(records)}; run again"
        )
    return RawSnapshot(account.name, size, digest.hexdigest(), records)


class _Fetcher:
    """Fetches complete bodies for one account within one deadline."""

    def __init__(
        self,
        account: Account,
        settings: ApiSettings,
        url: str,
        spool_dir: Path | None,
        announce: Callable[[str], None],
        pace: Pace,
        small_bytes: int,
    ) -> None:
        self._account = account
        self._settings = settings
        self._origin_url = url
        self._spool_dir = spool_dir
        self._announce = announce
        self._pace = pace
        self._small_bytes = small_bytes
        self._deadline = time.monotonic() + settings.total_seconds
        self._headers = {
            "Authorization": f"Bearer {account.token}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": f"sip-trunks/{__version__}",
        }

    def fetch(self, pool: urllib3.PoolManager, url: str, most_bytes: int) -> memoryview:
        """Return the complete, decompressed body. Raises ApiRefusedError, ApiUnreachableError or InvalidResponseError."""
        for attempt in range(1, self._settings.attempts + 1):
            try:
                return self._attempt(pool, url, most_bytes)
            except _TransientError as error:
                self._wait(error, attempt)
        raise AssertionError("the last attempt raises")

    def _wait(self, error: _TransientError, attempt: int) -> None:
        """Sleep before the next attempt. Raises ApiUnreachableError if there is none, or no time for it."""
        host = urlsplit(self._origin_url).netloc
        tries = f"after {attempt} {'attempt' if attempt == 1 else 'attempts'}"
        if attempt == self._settings.attempts and time.monotonic() < self._deadline:
            raise ApiUnreachableError(f"{host} gave no complete answer {tries}: {error}")
        backoff = min(self._settings.backoff_seconds * 2 ** (attempt - 1), _LONGEST_BACKOFF_SECONDS)
        # Jitter, so that many accounts that failed together do not come back together.
        jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        wait = jittered if error.wait_seconds is None else max(error.wait_seconds + jittered * 0.1, jittered)
        if time.monotonic() + wait > self._deadline:
            asked = "" if error.wait_seconds is None else f", and asks to wait {error.wait_seconds:.0f} s"
            raise ApiUnreachableError(
                f"{host} gave no complete answer {tries} within total_seconds = "
                f"{self._settings.total_seconds:g}: {error}{asked}"
            )
        self._announce(f"{error}; attempt {attempt + 1} of {self._settings.attempts} in {wait:.1f} s")
        time.sleep(wait)

    def _attempt(self, pool: urllib3.PoolManager, url: str, most_bytes: int) -> memoryview:
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                response = self._request(pool, url)
                try:
                    location = response.headers.get("Location")
                    if response.status in (301, 302, 303, 307, 308) and location:
                        url = resolve_link(url, location, "redirect")
                        continue
                    self._raise_for_status(response)
                    return self._spool(response, most_bytes)
                finally:
                    response.close()
            raise InvalidResponseError(f"expected an answer, got more than {_MOST_REDIRECTS} redirects")
        except (urllib3.exceptions.DecodeError, urllib3.exceptions.InvalidChunkLength) as error:
            raise _TransientError(f"the download broke off ({type(error).__name__})") from error
        except urllib3.exceptions.LocationParseError as error:
            raise InvalidResponseError("expected a redirect to an address, got something else") from error
        except urllib3.exceptions.ProxyError as error:
            raise _TransientError(f"the proxy of this machine's environment failed ({_name_fault(error)})") from error
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(_name_fault(error)) from error

    def _request(self, pool: urllib3.PoolManager, url: str) -> urllib3.BaseHTTPResponse:
        time.sleep(min(self._pace.count_request(time.monotonic()), max(self._deadline - time.monotonic(), 0.0)))
        remaining = max(self._deadline - time.monotonic(), 0.001)
        timeout = urllib3.Timeout(
            connect=min(self._settings.connect_seconds, remaining),
            read=min(self._settings.read_seconds, remaining),
        )
        return pool.request(
            "GET",
            url,
            headers=self._headers,
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        )

    def _raise_for_status(self, response: urllib3.BaseHTTPResponse) -> None:
        status, host = response.status, urlsplit(self._origin_url).netloc
        if status == 200:
            return
        if status in _TRANSIENT or status >= 500:
            wait = read_wait_seconds(response)
            raise _TransientError("too many requests (429)" if status == 429 else f"status {status}", wait)
        if status in (401, 403):
            raise ApiRefusedError(
                f"{host} does not accept the token of account {self._account.name!r} ({status}): "
                + ("it is wrong or expired; set a valid one" if status == 401 else "it may not read SIP trunks")
            )
        if status == 404:
            raise ApiRefusedError(f"{host} has no SIP trunks at this path (404): check sources.famulor.base_url")
        if 400 <= status < 500:
            raise ApiRefusedError(f"{host} refused the request (status {status})")
        raise InvalidResponseError(f"expected status 200, got {status}")

    def _spool(self, response: urllib3.BaseHTTPResponse, most_bytes: int) -> memoryview:
        """Download and return the body as memory: a large one lies in a file without a name, which no crash leaves."""
        size = 0
        folder = str(self._spool_dir) if self._spool_dir else None
        with tempfile.SpooledTemporaryFile(self._small_bytes, dir=folder) as file:
            while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
                size += len(chunk)
                if size > most_bytes:
                    limit = self._settings.max_body_bytes
                    raise InvalidResponseError(f"expected at most max_body_bytes = {limit}, got a larger answer")
                file.write(chunk)
            if time.monotonic() >= self._deadline:
                raise _TransientError("the answer was not complete in time")
            if not size and "Content-Length" not in response.headers:
                # A connection that breaks within the headers looks like this.
                raise _TransientError("the connection closed without an answer")
            if not size:
                raise InvalidResponseError("expected JSON, got an empty answer")
            if size <= self._small_bytes:
                file.seek(0)
                return memoryview(file.read())
            file.flush()
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _name_fault(error: urllib3.exceptions.HTTPError) -> str:
    """Say what happened without the address, the headers or a body in it."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "the host name is not known (DNS)"
        case urllib3.exceptions.NewConnectionError():
            return f"no connection ({getattr(error.__cause__, 'strerror', None) or 'refused'})"
        case urllib3.exceptions.ConnectTimeoutError():
            return "no connection in time"
        case urllib3.exceptions.ReadTimeoutError():
            return "the server fell silent"
        case urllib3.exceptions.SSLError():
            return f"TLS failed{_tls_reason(error)}"
        case _:
            return "the connection broke before the answer was complete"


def _tls_reason(error: BaseException) -> str:
    """Return what the TLS library says of it, down the chain of causes."""
    seen: BaseException | None = error
    while seen is not None:
        for part in (seen, *seen.args):
            if isinstance(part, ssl.SSLCertVerificationError):
                return f": {part.verify_message}"
            if isinstance(part, ssl.SSLError) and part.reason:
                return f": {part.reason.replace('_', ' ').lower()}"
        seen = seen.__cause__ or seen.__context__
    return ""
