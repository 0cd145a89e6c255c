"""Fetch one complete snapshot of an account over HTTP.

The body is spooled to a temporary file and parsed after the download is complete, so that a broken connection leads to
a retry, not to a short snapshot. The token is sent only to the configured origin.
"""

import hashlib
import hmac
import mmap
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import urllib3

from sip_trunks import __version__
from sip_trunks.core.errors import ApiRefusedError, ApiUnreachableError
from sip_trunks.core.http import Connections
from sip_trunks.core.settings import Account, ApiSettings
from sip_trunks.famulor.links import endpoint_url, next_page_url, resolve_link
from sip_trunks.famulor.rate_limit import RateLimit
from sip_trunks.famulor.spool import SpooledRecords, release_memory
from sip_trunks.famulor.wait_hints import read_wait_seconds
from trunk_transforms.parse import paging
from trunk_transforms.parse.assignments import Assignments, Assistant, Kept, Number, keep_fields, read_kept_page
from trunk_transforms.parse.claims import read_paging_headers
from trunk_transforms.parse.envelope import InvalidResponseError, Page, TruncatedResponseError, read_page
from trunk_transforms.schema.resources import ASSIGNMENTS, ASSISTANTS_PATH, RESOURCES, TRUNKS, Resource

_Read: TypeAlias = Callable[[memoryview, Mapping[str, str]], Page | None]

_CHUNK_BYTES = 2**18
_SMALL_BYTES = 2**20  # smaller bodies stay in memory, to limit the number of open files
_MOST_BYTES_IN_MEMORY = 2**25
_MOST_REDIRECTS = 5
_MOST_PAGES = 10_000
_LONGEST_BACKOFF_SECONDS = 60.0
_GATEWAY_SAMPLE_BYTES = 4096
_TRANSIENT = frozenset({408, 425, 429})


@dataclass(frozen=True)
class RawSnapshot:
    """One complete response for one account, as downloaded.

    `records` has the records of each list as raw JSON, or is None if the response is unchanged. `body_bytes` and
    `body_sha256` cover all pages of the decompressed response, without the assignments. These are None if they were not
    requested, or the error that they failed with.
    """

    account: str
    body_bytes: int
    body_sha256: str
    records: Mapping[Resource, SpooledRecords] | None
    assignments: Assignments | Exception | None = None
    assignments_sha256: str | None = None

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
        row: dict[str, object] = {
            "account": self.account,
            "snapshot_at": snapshot_at,
            "trunk_count": trunk_count,
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_sha256,
            "drift_count": drift_count,
            "is_unchanged": is_unchanged,
            "loader_version": loader_version,
        }
        return row | ({"assignments_sha256": self.assignments_sha256} if self.assignments_sha256 else {})


class _TransientError(Exception):
    """An error that justifies another attempt, after `wait_seconds` if the server sent a wait time.

    `final` is the error after the last attempt, unless it is ApiUnreachableError.
    """

    def __init__(self, message: str, wait_seconds: float | None = None, final: Exception | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.final = final


def fetch_snapshot(
    account: Account,
    settings: ApiSettings,
    *,
    known_sha256: str | None = None,
    known_assignments_sha256: str | None = None,
    spool_dir: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    connections: Connections | None = None,
    rate_limit: RateLimit | None = None,
    secret: bytes | None = None,
) -> RawSnapshot:
    """Return the current snapshot of the account, with the trunks of all pages.

    A response with the SHA-256 `known_sha256` is unchanged and not parsed, unless the assignments have changed. Callers
    that fetch several accounts pass the same `connections` for all of them, and the same `rate_limit` for all accounts
    with one token. With a `secret`, the response is never written to disk and HMAC-SHA256 replaces SHA-256, because the
    plain hash of a short response can be guessed.

    Raises ConfigError if the URL must not receive the token, ApiRefusedError for a client error (status 4xx),
    ApiUnreachableError after the last attempt or `total_seconds`, and InvalidResponseError if the response is not a
    list of trunks.
    """
    urls = {r: endpoint_url(settings.base_url, r.path) for r in RESOURCES if not r.is_optional}
    small_bytes = sys.maxsize if secret else _SMALL_BYTES
    host, deadline = urlsplit(urls[TRUNKS]).netloc, time.monotonic() + settings.total_seconds
    digest = _digest(secret)
    records: dict[Resource, SpooledRecords] = {}
    size = 0

    def read(body: memoryview, headers: Mapping[str, str]) -> Page | None:
        """Return the next page, which is then part of `digest`; None if the response is unchanged."""
        nonlocal digest, size
        claims, hashed, page = read_paging_headers(headers), digest.copy(), None
        hashed.update(body)
        if claims or settings.assignments or hashed.hexdigest() != known_sha256:
            release_memory(body)
            page = read_page(body, claims)
        digest, size = hashed, size + len(body)
        return page

    with ExitStack() as stack:
        shared = connections or stack.enter_context(Connections())
        pool = stack.enter_context(shared.limited(urls[TRUNKS], settings.total_seconds))
        limit = rate_limit or RateLimit()
        fetcher = _Fetcher(account, settings, pool, host, deadline, spool_dir, announce, limit, small_bytes)
        for resource, url in urls.items():
            spooled = _fetch_list(url, lambda link: fetcher.fetch(link, settings.max_body_bytes - size, read))
            if spooled is None:
                return RawSnapshot(account.name, size, digest.hexdigest(), None)
            records[resource] = spooled
        if not settings.assignments:
            return RawSnapshot(account.name, size, digest.hexdigest(), records)
        assignments = _fetch_assignments(fetcher)
    sha256 = _digest(secret, assignments.encode()).hexdigest() if isinstance(assignments, Assignments) else None
    is_unchanged = digest.hexdigest() == known_sha256 and sha256 in (None, known_assignments_sha256)
    content = None if is_unchanged else records
    return RawSnapshot(account.name, size, digest.hexdigest(), content, assignments, sha256)


def _digest(secret: bytes | None, content: bytes = b"") -> "hashlib._Hash | hmac.HMAC":
    return hmac.new(secret, content, "sha256") if secret else hashlib.sha256(content)


def _fetch_assignments(fetcher: "_Fetcher") -> Assignments | Exception:
    """Return the assignments of the account, or the error: the trunks are stored without them.

    The responses stay in memory, because what is not kept of them must never be on the disk.
    """
    fetcher = replace(fetcher, subject="assignments", small_bytes=sys.maxsize)
    most_bytes = min(_MOST_BYTES_IN_MEMORY, fetcher.settings.max_body_bytes)

    def fetch_list(path: str, kind: type[Kept]) -> list[Kept]:
        def read(body: memoryview, headers: Mapping[str, str]) -> Page:
            return read_kept_page(body, read_paging_headers(headers), kind)

        def fetch(url: str) -> tuple[memoryview, Page | None]:
            return memoryview(b""), fetcher.fetch(url, most_bytes, read)[1]

        return keep_fields(_fetch_list(endpoint_url(fetcher.settings.base_url, path), fetch) or (), kind)

    try:
        return Assignments(fetch_list(ASSIGNMENTS.path, Number), fetch_list(ASSISTANTS_PATH, Assistant))
    except (OSError, MemoryError):  # not the fault of the response
        raise
    except Exception as error:  # noqa: BLE001 - the trunks are loaded
        return error


def _fetch_list(url: str, fetch: Callable[[str], tuple[memoryview, Page | None]]) -> SpooledRecords | None:
    """Return the records of all pages of a list of the API; None if the response is unchanged."""
    records, pages, ids, seen, next_url = SpooledRecords(), list[Page](), set[str](), {url}, url
    while True:
        body, page = fetch(next_url)
        if page is None:
            return None
        records.add(body, page.records)
        pages.append(page)
        next_page = paging.find_next_page(page, len(pages))
        if next_page is not None or len(pages) > 1 or paging.has_count(page):
            paging.add_ids(ids, page)
        if next_page is None:
            break
        next_url = next_page_url(url, next_page)
        if next_url in seen or len(seen) >= _MOST_PAGES:
            raise InvalidResponseError("expected a last page, got a link to a page that was already read")
        seen.add(next_url)
    paging.refuse_incomplete(pages, len(ids) or len(records))
    records.undeclared_keys, records.paging_keys = paging.find_undeclared_keys(pages), paging.find_paging_keys(pages)
    return records


@dataclass
class _Fetcher:
    """Fetches complete bodies for one account within one deadline."""

    account: Account
    settings: ApiSettings
    pool: urllib3.PoolManager
    host: str
    deadline: float
    spool_dir: Path | None
    announce: Callable[[str], None]
    rate_limit: RateLimit
    small_bytes: int
    subject: str = "SIP trunks"

    def fetch(self, url: str, most_bytes: int, read: _Read) -> tuple[memoryview, Page | None]:
        """Return the complete, decompressed body, and what `read` returns for it and its headers.

        Raises the errors of `fetch_snapshot` and of `read`.
        """
        for attempt in range(1, self.settings.attempts + 1):
            try:
                return self._attempt(url, most_bytes, read)
            except _TransientError as error:
                self._wait(error, attempt)
        raise AssertionError("the last attempt raises")

    def _wait(self, error: _TransientError, attempt: int) -> None:
        """Sleep before the next attempt. Raises the final error after the last attempt, or if time runs out."""
        tries = f"after {attempt} {'attempt' if attempt == 1 else 'attempts'}"
        if attempt == self.settings.attempts and time.monotonic() < self.deadline:
            raise error.final or ApiUnreachableError(f"{self.host} sent no complete response {tries}: {error}")
        backoff = min(self.settings.backoff_seconds * 2 ** (attempt - 1), _LONGEST_BACKOFF_SECONDS)
        # Jitter, so that accounts that failed at the same time do not retry at the same time.
        jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - not used for security
        wait = jittered if error.wait_seconds is None else max(error.wait_seconds + jittered * 0.1, jittered)
        if time.monotonic() + wait > self.deadline:
            asked = "" if error.wait_seconds is None else f"; it asks to wait {error.wait_seconds:.0f} s"
            raise error.final or ApiUnreachableError(
                f"{self.host} sent no complete response {tries} within total_seconds = "
                f"{self.settings.total_seconds:g}: {error}{asked}"
            )
        self.announce(f"{error}; attempt {attempt + 1} of {self.settings.attempts} in {wait:.1f} s")
        time.sleep(wait)

    def _attempt(self, url: str, most_bytes: int, read: _Read) -> tuple[memoryview, Page | None]:
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                response = self._request(url)
                try:
                    location = response.headers.get("Location")
                    if response.status in (301, 302, 303, 307, 308) and location:
                        url = resolve_link(url, location, "redirect")
                        continue
                    self._raise_for_status(response)
                    body = self._spool(response, most_bytes)
                    return body, read(body, response.headers)
                finally:
                    response.close()
            raise InvalidResponseError(f"expected a response, got more than {_MOST_REDIRECTS} redirects")
        except (urllib3.exceptions.DecodeError, urllib3.exceptions.InvalidChunkLength) as error:
            raise _TransientError(f"the download was interrupted ({type(error).__name__})") from error
        except TruncatedResponseError as error:
            raise _TransientError(str(error), final=error) from error
        except urllib3.exceptions.LocationParseError as error:
            raise InvalidResponseError("expected a redirect to a URL, got something else") from error
        except urllib3.exceptions.ProxyError as error:
            raise _TransientError(f"the proxy of this machine failed ({_name_fault(error)})") from error
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(_name_fault(error)) from error

    def _request(self, url: str) -> urllib3.BaseHTTPResponse:
        time.sleep(min(self.rate_limit.count_request(time.monotonic()), max(self.deadline - time.monotonic(), 0.0)))
        remaining = max(self.deadline - time.monotonic(), 0.001)
        connect, read = min(self.settings.connect_seconds, remaining), min(self.settings.read_seconds, remaining)
        timeout = urllib3.Timeout(connect=connect, read=read)
        headers = {
            "Authorization": f"Bearer {self.account.token}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": f"sip-trunks/{__version__}",
        }
        return self.pool.request(
            "GET", url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False
        )

    def _raise_for_status(self, response: urllib3.BaseHTTPResponse) -> None:
        status, host = response.status, self.host
        if status == 200:
            return
        if status in _TRANSIENT or status >= 500:
            problem = "too many requests (429)" if status == 429 else f"status {status}"
            raise _TransientError(problem, read_wait_seconds(response))
        if status in (401, 403):
            if _is_from_gateway(response):
                raise _TransientError(
                    f"status {status} came from a gateway in front of the API; the token is not the cause, ask "
                    "the vendor whether this machine is blocked",
                    read_wait_seconds(response),
                )
            causes = {
                401: "it is wrong or expired; set a valid one",
                403: f"it has no permission to read {self.subject}",
            }
            account = f"{host} does not accept the token of account {self.account.name!r}"
            raise ApiRefusedError(f"{account} ({status}): {causes[status]}")
        if status == 404:
            raise ApiRefusedError(f"{host} has no {self.subject} at this path (404): check sources.famulor.base_url")
        if 400 <= status < 500:
            raise ApiRefusedError(f"{host} refused the request (status {status})")
        raise InvalidResponseError(f"expected status 200, got {status}")

    def _spool(self, response: urllib3.BaseHTTPResponse, most_bytes: int) -> memoryview:
        """Download the body and return it; a large body is mapped from a file without a name, which a crash deletes."""
        size = 0
        folder = str(self.spool_dir) if self.spool_dir else None
        with tempfile.SpooledTemporaryFile(self.small_bytes, dir=folder) as file:
            while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
                size += len(chunk)
                if size > most_bytes:
                    is_ours = most_bytes == _MOST_BYTES_IN_MEMORY
                    limit = f"{most_bytes} bytes" if is_ours else f"max_body_bytes = {self.settings.max_body_bytes}"
                    raise InvalidResponseError(f"expected at most {limit}, got a larger response")
                file.write(chunk)
            if time.monotonic() >= self.deadline:
                raise _TransientError("the response was not complete in time")
            if not size and "Content-Length" not in response.headers:
                # The same as a connection that breaks within the headers.
                raise _TransientError("the connection closed without a response")
            if not size:
                raise TruncatedResponseError("expected JSON, got an empty response")
            if size <= self.small_bytes:
                file.seek(0)
                return memoryview(file.read())
            file.flush()
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _is_from_gateway(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether a gateway such as Cloudflare refused the request: the API itself sends a JSON object."""
    if "cf-mitigated" in response.headers or "html" in response.headers.get("Content-Type", "").lower():
        return True
    start = response.read(_GATEWAY_SAMPLE_BYTES, decode_content=True).lower().strip()
    return bool(start) and (not start.startswith(b"{") or b"cloudflare" in start)


def _name_fault(error: urllib3.exceptions.HTTPError) -> str:
    """Return a description of the error without URL, headers or body."""
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "the host name is not known (DNS)"
        case urllib3.exceptions.NewConnectionError():
            return f"no connection ({getattr(error.__cause__, 'strerror', None) or 'refused'})"
        case urllib3.exceptions.ConnectTimeoutError():
            return "no connection in time"
        case urllib3.exceptions.ReadTimeoutError():
            return "the server stopped sending"
        case urllib3.exceptions.SSLError():
            return f"TLS failed{_tls_reason(error)}"
        case _:
            return "the connection broke before the response was complete"


def _tls_reason(error: urllib3.exceptions.SSLError) -> str:
    """Return the reason that the TLS library gives."""
    cause = next(iter(error.args), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f": {cause.verify_message}"
    reason = cause.reason if isinstance(cause, ssl.SSLError) else None
    return f": {reason.replace('_', ' ').lower()}" if reason else ""
