"""Work that follows a publication, noted before it, so that the next run completes it after a kill.

state/page-*.pending         the report page of a destination may be older than what is published
state/*.follow_up.json       results whose notifications may not have been sent; a living process locks its own
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from sip_trunks.core.files import write_whole
from sip_trunks.core.settings import Settings
from sip_trunks.run.result import RunResult, rename_entries

_PATTERN = "*.follow_up.json"


@contextmanager
def follow_up_pending(settings: Settings) -> Iterator[tuple[list[RunResult], Callable[[RunResult | None], None]]]:
    """Yield results whose follow-up was interrupted, and a function that notes the result of this run, or deletes it.

    They count as followed up if the context ends without an error.
    """
    with ExitStack() as locks:
        taken: dict[Path, RunResult] = {}
        for path in sorted(settings.state_dir.glob(_PATTERN)):
            with suppress(OSError):  # another process follows up this result
                _lock(path, locks, fcntl.LOCK_NB)
                taken |= ((path, found) for found in _read(path) if found.destination == settings.destination)
        ours = settings.state_dir / f"{os.getpid()}-{os.urandom(4).hex()}{_PATTERN.removeprefix('*')}"

        def note(result: RunResult | None) -> None:
            with suppress(OSError):  # a full disk does not end a run
                if result is None:
                    ours.unlink(missing_ok=True)
                    return
                write_whole(ours, msgspec.json.encode(replace(result, interrupted=())))
                _lock(ours, locks)

        yield list(taken.values()), note
        for path in (*taken, ours):
            path.unlink(missing_ok=True)


def rename_pending(settings: Settings, old: str, new: str | None) -> None:
    """Rename an account in the noted results; if `new` is None, delete it from them. Raises OSError."""
    for path in settings.state_dir.glob(_PATTERN):
        for result in map(msgspec.to_builtins, _read(path)):
            kept = [(account, last) for account, last in result["stored"].items() if new or account != old]
            stored = {new if account == old else account: last for account, last in kept}
            changed = {"accounts": rename_entries(result["accounts"], old, new), "stored": stored, "warnings": ()}
            write_whole(path, msgspec.json.encode(result | changed))


def mark_page(settings: Settings) -> None:
    """Note that the report page has to be written or deleted."""
    with suppress(OSError):
        _page_marker(settings).touch()


def is_page_pending(settings: Settings) -> bool:
    """Whether the report page was not written or deleted after the last publication."""
    return _page_marker(settings).exists()


def unmark_page(settings: Settings) -> None:
    """Note that the report page is current or deleted. Raises OSError."""
    _page_marker(settings).unlink(missing_ok=True)


def delete_unnamed_page(settings: Settings) -> None:
    """Delete a page that does not name its destination; an earlier commit wrote the pages of all to one path.

    Raises OSError.
    """
    path = settings.data_dir / "reports" / "index.html"
    with suppress(FileNotFoundError):
        with path.open("rb") as page:
            is_named = b'<meta name="destination"' in page.read(1024)
        if not is_named:
            path.unlink()


def _page_marker(settings: Settings) -> Path:
    return settings.state_dir / f"page-{settings.destination}.pending"


def _lock(path: Path, locks: ExitStack, flags: int = 0) -> None:
    """Lock a file until `locks` ends. With LOCK_NB, raises OSError if another process has locked it."""
    fcntl.flock(locks.enter_context(path.open("rb")), fcntl.LOCK_EX | flags)


def _read(path: Path) -> list[RunResult]:
    """Return the result in a file; an empty list, and no file, if it is not valid."""
    try:
        return [msgspec.json.decode(path.read_bytes(), type=RunResult)]
    except (OSError, msgspec.MsgspecError):
        with suppress(OSError):
            path.unlink()
    return []
