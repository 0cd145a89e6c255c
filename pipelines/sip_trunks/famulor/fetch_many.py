"""The snapshots of many accounts: asked for at the same time, so many at once, and handed out in order.

    accounts ─▶ workers, each with connections of its own ─▶ what came, or why nothing did ─▶ the run, one by one

The API's limits are per token. So accounts are fetched side by side, and what one token is asked for one after the
other, however many names it has. Whoever waits for an account that is slow finds the next ones there.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING, TypeAlias

from sip_trunks.core.errors import ApiUnreachableError, SipTrunksError
from sip_trunks.core.http import Connections
from sip_trunks.famulor.client import RawSnapshot, fetch_snapshot
from sip_trunks.famulor.rate_limit import Pace
from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sip_trunks.core.settings import Account, ApiSettings

    Result: TypeAlias = RawSnapshot | SipTrunksError | InvalidResponseError


_HOPELESS_AFTER = 20
"""After so many accounts in a row that got no answer at all, the others are not made to wait for one."""


@contextmanager
def fetching(
    accounts: Sequence[Account],
    settings: ApiSettings,
    *,
    known_sha256: Mapping[str, str] | None = None,
    spool_dir: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    secret: bytes | None = None,
    most_waiting_bytes: int = 2**28,
) -> Iterator[Iterator[tuple[Account, Result]]]:
    """Yield an iterator over the accounts, in order, each with its snapshot or with the reason why there is none.

    At most `settings.concurrency` accounts are asked at the same time. An answer whose SHA-256 `known_sha256` has for
    the account is not read again; for a `secret`, see `fetch_snapshot`. Where nobody gets an answer, the last accounts
    fail unasked. What is no SipTrunksError and no InvalidResponseError is raised where its account is handed out.
    While `most_waiting_bytes` lie there for an account that comes before them, no other one is asked for.
    Nothing is asked for any more once this context has ended.
    """
    work = _Work(accounts, settings, known_sha256 or {}, spool_dir, announce, secret, most_waiting_bytes)
    for _ in range(min(settings.concurrency, len(accounts))):
        Thread(target=work.do, daemon=True).start()
    try:
        yield work.hand_out()
    finally:
        work.stop()


@dataclass
class _Work:
    """What is left to fetch, and what was fetched and not yet handed out; workers and the run share it."""

    accounts: Sequence[Account]
    settings: ApiSettings
    known_sha256: Mapping[str, str]
    spool_dir: Path | None
    announce: Callable[[str], None]
    secret: bytes | None
    most_waiting_bytes: int

    def __post_init__(self) -> None:
        self._paces = {account.token: Pace() for account in self.accounts}
        self._changed = Condition()
        self._begun_count = 0
        self._waiting: dict[str, Result | BaseException] = {}
        self._waiting_bytes = 0
        self._unreachable_count = 0

    def hand_out(self) -> Iterator[tuple[Account, Result]]:
        """Yield each account and what came of it, waiting for it if need be."""
        for account in self.accounts:
            with self._changed:
                while account.name not in self._waiting:
                    self._changed.wait()
                result = self._waiting.pop(account.name)
                self._waiting_bytes -= _size_of(result)
                self._changed.notify_all()
            if not isinstance(result, RawSnapshot | SipTrunksError | InvalidResponseError):
                raise result
            yield account, result

    def do(self) -> None:
        """Fetch one account after the other until none is left."""
        with Connections() as connections:
            while (account := self._next()) is not None:
                result = self._fetch(account, connections) if self._is_hopeful() else _not_asked()
                with self._changed:
                    self._unreachable_count = (
                        self._unreachable_count + 1 if isinstance(result, ApiUnreachableError) else 0
                    )
                    self._waiting[account.name] = result
                    self._waiting_bytes += _size_of(result)
                    self._changed.notify_all()

    def stop(self) -> None:
        """Let the workers begin no other account."""
        with self._changed:
            self._begun_count = len(self.accounts)
            self._changed.notify_all()

    def _next(self) -> Account | None:
        with self._changed:
            # The first one that is waited for has begun before, so this ends.
            self._changed.wait_for(self._may_begin)
            if self._begun_count == len(self.accounts):
                return None
            self._begun_count += 1
            return self.accounts[self._begun_count - 1]

    def _may_begin(self) -> bool:
        return self._waiting_bytes < self.most_waiting_bytes or self._begun_count == len(self.accounts)

    def _is_hopeful(self) -> bool:
        return self._unreachable_count < _HOPELESS_AFTER

    def _fetch(self, account: Account, connections: Connections) -> Result | BaseException:
        pace = self._paces[account.token]
        try:
            with pace.turn:
                return fetch_snapshot(
                    account,
                    self.settings,
                    known_sha256=self.known_sha256.get(account.name),
                    spool_dir=self.spool_dir,
                    announce=lambda text: self.announce(f"{account.name}: {text}"),
                    connections=connections,
                    pace=pace,
                    secret=self.secret,
                )
        except BaseException as error:  # noqa: BLE001 - whatever it is, the run that waits for it has to hear of it
            return error


def _not_asked() -> ApiUnreachableError:
    return ApiUnreachableError(f"not asked, since the {_HOPELESS_AFTER} accounts before it got no answer either")


def _size_of(result: object) -> int:
    return result.body_bytes if isinstance(result, RawSnapshot) and result.records is not None else 0
