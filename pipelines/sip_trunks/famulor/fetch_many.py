"""Fetch the snapshots of many accounts concurrently, and yield them in order.

    accounts ─▶ workers, each with its own connections ─▶ snapshot or error per account ─▶ the run, in order

The API's rate limit applies per token. Accounts with different tokens are fetched concurrently; accounts with the same
token are fetched one after the other. While the run waits for a slow account, the next ones are fetched.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import TypeAlias

from sip_trunks.core.errors import ApiUnreachableError
from sip_trunks.core.http import Connections
from sip_trunks.core.settings import Account, ApiSettings
from sip_trunks.famulor.client import RawSnapshot, fetch_snapshot
from sip_trunks.famulor.rate_limit import RateLimit

Result: TypeAlias = RawSnapshot | Exception

_HOPELESS_AFTER = 20
"""Consecutive accounts without a response after which the remaining accounts fail without a request."""


@contextmanager
def fetching(
    accounts: Sequence[Account],
    settings: ApiSettings,
    *,
    known_sha256: Mapping[str, tuple[str, str | None]] | None = None,
    spool_dir: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    secret: bytes | None = None,
    most_waiting_bytes: int = 2**28,
) -> Iterator[Iterator[tuple[Account, Result]]]:
    """Yield an iterator over the accounts, in order, each with its snapshot or its error.

    At most `settings.concurrency` accounts are fetched at the same time. `known_sha256` has the SHA-256 of the stored
    response and of its assignments by account; `spool_dir` and `secret` are described in `fetch_snapshot`. After 20
    consecutive accounts without a response, the remaining accounts fail without a request. No account is started while
    `most_waiting_bytes` of fetched snapshots wait for an earlier account, or after this context has ended.

    Raises, when its account is reached, any error that is not the account's: of the disk, the memory or the program's
    end.
    """
    fetch = partial(fetch_snapshot, settings=settings, spool_dir=spool_dir, secret=secret)
    work = _Work(accounts, fetch, known_sha256 or {}, announce, most_waiting_bytes)
    for _ in range(min(settings.concurrency, len(accounts))):
        Thread(target=work.do, daemon=True).start()
    try:
        yield work.results()
    finally:
        work.stop()


@dataclass
class _Work:
    """The accounts to fetch and the results that wait for the run. Shared by the workers and the run."""

    accounts: Sequence[Account]
    fetch: Callable[..., RawSnapshot]
    known_sha256: Mapping[str, tuple[str, str | None]]
    announce: Callable[[str], None]
    most_waiting_bytes: int

    def __post_init__(self) -> None:
        self._rate_limits = {account.token: RateLimit() for account in self.accounts}
        self._changed = Condition()
        self._left = deque(self.accounts)
        self._waiting: dict[str, Result | BaseException] = {}
        self._waiting_bytes = 0
        self._unreachable_count = 0

    def results(self) -> Iterator[tuple[Account, Result]]:
        """Yield each account with its result, as soon as it is fetched."""
        for account in self.accounts:
            with self._changed:
                while account.name not in self._waiting:
                    self._changed.wait()
                result = self._waiting.pop(account.name)
                self._waiting_bytes -= _size_of(result)
                self._changed.notify_all()
            if not isinstance(result, RawSnapshot | Exception) or isinstance(result, OSError | MemoryError):
                raise result
            yield account, result

    def do(self) -> None:
        """Fetch one account after the other until all are started."""
        with Connections() as connections:
            while (account := self._next()) is not None:
                result = self._fetch(account, connections)
                with self._changed:
                    is_unreachable = isinstance(result, ApiUnreachableError)
                    self._unreachable_count = self._unreachable_count + 1 if is_unreachable else 0
                    self._waiting[account.name] = result
                    self._waiting_bytes += _size_of(result)
                    self._changed.notify_all()

    def stop(self) -> None:
        """Make the workers stop after their current account."""
        with self._changed:
            self._left.clear()
            self._changed.notify_all()

    def _next(self) -> Account | None:
        with self._changed:
            # Ends, because the account that the run waits for has already begun.
            while self._waiting_bytes >= self.most_waiting_bytes and self._left:
                self._changed.wait()
            return self._left.popleft() if self._left else None

    def _fetch(self, account: Account, connections: Connections) -> Result | BaseException:
        if self._unreachable_count >= _HOPELESS_AFTER:
            return ApiUnreachableError(
                f"not requested, because the previous {_HOPELESS_AFTER} accounts got no response"
            )
        rate_limit, known = self._rate_limits[account.token], self.known_sha256.get(account.name, (None, None))
        try:
            with rate_limit.turn:
                return self.fetch(
                    account,
                    known_sha256=known[0],
                    known_assignments_sha256=known[1],
                    announce=lambda text: self.announce(f"{account.name}: {text}"),
                    connections=connections,
                    rate_limit=rate_limit,
                )
        except BaseException as error:  # noqa: BLE001 - raised by the run, which waits for the result
            return error


def _size_of(result: object) -> int:
    return result.body_bytes if isinstance(result, RawSnapshot) and result.records is not None else 0
