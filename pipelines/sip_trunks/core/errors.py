"""The expected errors. Each has a message of one line, and an exit code for scripts."""

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.text import printable

_LONGEST_LINE = 4000
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class SipTrunksError(Exception):
    """Base class of the expected errors. The message is one line: the problem, the expectation, the remedy."""

    exit_code = 1


class UsageError(SipTrunksError):
    """The command line is not valid."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is missing or invalid."""


class QueryError(UsageError):
    """A query or one of its parameters is not valid."""


class NothingStoredError(UsageError):
    """The destination has no data yet."""


class MissingExtraError(UsageError):
    """A required optional library is not installed."""


class ApiRefusedError(SipTrunksError):
    """The API rejected the token or the URL (401, 403, 404 and other client errors)."""

    exit_code = 3


class ApiUnreachableError(SipTrunksError):
    """The API sent no complete response within the allowed attempts and time."""

    exit_code = 4


class RefusedSnapshotError(SipTrunksError):
    """The response is valid, but was not loaded: it lost many trunks, has drift, or has another account's trunks."""

    exit_code = 5


class RunActiveError(SipTrunksError):
    """Another run has locked the data directory."""

    exit_code = 6


class DestinationError(SipTrunksError):
    """The destination, or another file, stream or service that this program writes to, failed."""

    exit_code = 7


def nothing_stored(location: str) -> NothingStoredError:
    """Return the error for reading a destination before its first run."""
    return NothingStoredError(f"nothing is stored yet at {location}: run `sip-trunks run`, or `sip-trunks run --demo`")


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM."""

    exit_code = 143


STANDARD_OUTPUT = "standard output"
"""The file name in an error of this stream."""

PUBLISHED = "the loaded data is published"
"""The note on an error that came after the publication."""

SOME_ACCOUNTS_FAILED = 8
CHECK_FAILED = 10
"""A condition that an option asked for is met, such as a finding of `--fail-on` or data older than `--max-age`."""


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of an error. 1 means an unexpected error, which is a bug."""
    if isinstance(error, SipTrunksError | Terminated):
        return error.exit_code
    if isinstance(error, InvalidResponseError):
        return RefusedSnapshotError.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return DestinationError.exit_code if isinstance(error, OSError) or _is_disk_full(error) else 1


def describe_error(error: BaseException) -> str:
    """Return the error as one printable line, with its notes."""
    notes = getattr(error, "__notes__", [])
    if isinstance(error, KeyboardInterrupt):
        parts = ["stopped", *(notes or ["stored data is unchanged"])]
    elif is_output_lost(error):
        parts = [f"{STANDARD_OUTPUT} cannot be written ({error.strerror})", *notes]
    elif _is_disk_full(error):
        disk = getattr(error, "filename", None) or "the data directory"
        parts = [f"no space left on the disk of {disk}; free some space and run again"]
    elif isinstance(error, OSError) and error.errno is not None:
        parts = [f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)]
        if error.errno in _NOT_WRITABLE and error.filename:
            parts.append("give this user access to it, or name another folder with --data-dir")
    else:
        parts = [" ".join(str(error).split()) or type(error).__name__]
    return printable("; ".join(parts), _LONGEST_LINE)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text. The others quote the query, or say where in it the error is."""
    return str(error).strip().partition("\n")[0]


def is_output_lost(error: BaseException) -> TypeGuard[OSError]:
    """Whether standard output cannot be written."""
    return isinstance(error, OSError) and error.filename == STANDARD_OUTPUT


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return the message and the exit code of an error as a dictionary."""
    return {"error": describe_error(error), "exit_code": exit_code_of(error)}


def suggest(name: str, names: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: the name that may have been meant, or an empty text."""
    from difflib import get_close_matches  # slow to import, and rarely needed

    near = get_close_matches(name, [*names], 1)
    return f"; did you mean {near[0]}?" if near else ""


def name_some(accounts: Sequence[str], most: int = 3) -> str:
    """Return the names of accounts as a list in words, at most `most` of them and the number of the others."""
    if len(accounts) <= most:
        return ", ".join(accounts)
    return f"{', '.join(accounts[:most])} and {len(accounts) - most} more accounts"


def _is_disk_full(error: BaseException) -> bool:
    """Whether the disk is full. DuckDB and Arrow raise their own errors, which quote the system's message."""
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or os.strerror(errno.ENOSPC) in str(error)
