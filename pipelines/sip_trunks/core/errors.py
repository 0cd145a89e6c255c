"""What can go wrong, as the person sees it who reads it at night: one line, and an exit code for scripts."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from trunk_transforms.parse.envelope import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Sequence


class SipTrunksError(Exception):
    """An expected error: its message is one line that says what was seen, what was expected and what to do."""

    exit_code = 1


class UsageError(SipTrunksError):
    """The command line asks for something that is not possible."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is missing or has a value that it cannot have."""


class QueryError(UsageError):
    """A query, or one of its parameters, cannot be run."""


class NothingStoredError(UsageError):
    """Nothing is stored yet where a reader expects data."""


class MissingExtraError(UsageError):
    """A library that this needs is not installed."""


class ApiRefusedError(SipTrunksError):
    """The API does not accept this token or this address (401, 403, 404 and other client errors)."""

    exit_code = 3


class ApiUnreachableError(SipTrunksError):
    """The API gave no complete answer within the attempts and the time allowed."""

    exit_code = 4


class RefusedSnapshotError(SipTrunksError):
    """The answer is sound, but storing it would lose so much that somebody has to agree first."""

    exit_code = 5


class RunActiveError(SipTrunksError):
    """Another run holds this data directory."""

    exit_code = 6


class DestinationError(SipTrunksError):
    """The data could not be written where it belongs."""

    exit_code = 7


def nothing_stored(place: str) -> NothingStoredError:
    """Return the error of a reader that comes before the first run."""
    return NothingStoredError(f"nothing is stored yet at {place}: run `sip-trunks run`, or `sip-trunks run --demo`")


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end (SIGTERM)."""

    exit_code = 143


SOME_ACCOUNTS_FAILED = 8
CHECK_FAILED = 10
"""What somebody asked to be told is so: a finding as severe as that, data as old as that."""


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of an error; 1 is a bug."""
    if isinstance(error, SipTrunksError | Terminated):
        return error.exit_code
    if isinstance(error, InvalidResponseError):
        return RefusedSnapshotError.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return DestinationError.exit_code if isinstance(error, OSError) or _is_disk_full(error) else 1


def describe_error(error: BaseException) -> str:
    """Return the error as one line."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped; what was stored before is untouched"
    if _is_disk_full(error):
        return "no space left on the disk of the data directory; free some and run again, what was stored is untouched"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}{_on(error)}"
    lines = str(error).split()
    return " ".join(lines) or type(error).__name__


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return an error as plain values: its line and its exit code."""
    return {"error": describe_error(error), "exit_code": exit_code_of(error)}


def name_some(accounts: Sequence[str], most: int = 3) -> str:
    """Return the names of accounts or, of many, the first ones and how many more there are."""
    if len(accounts) <= most:
        return ", ".join(accounts)
    return f"{', '.join(accounts[:most])} and {len(accounts) - most} more accounts"


def _is_disk_full(error: BaseException) -> bool:
    """Whether there is no space left, whoever found that out: DuckDB and Arrow have errors of their own for it."""
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or os.strerror(errno.ENOSPC) in str(error)


def _on(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""
