"""Replace files atomically: a reader sees the old content or the new content, never a part of it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from glob import escape
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECONDS_TO_LOCK = 5


@contextmanager
def writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write to. When the context ends without an error, it replaces the file at `path`.

    Errors name `path`. Drafts that killed processes have left of it are deleted.
    """
    delete_drafts(path.parent, path.name)
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.draft")
    try:
        with draft.open("wb") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        draft.unlink(missing_ok=True)


def delete_drafts(folder: Path, name: str = "*") -> None:
    """Delete the drafts that killed processes have left; a living process has locked its own."""
    for draft in folder.glob(f".{name if name == '*' else escape(name)}.*.draft"):
        with suppress(OSError), draft.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A draft is empty before it is locked.
            if draft.stat().st_size or time.time() - draft.stat().st_mtime > _SECONDS_TO_LOCK:
                draft.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Replace the content of a file atomically."""
    with writing_whole(path) as file:
        file.write(content)


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
