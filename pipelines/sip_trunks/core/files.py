"""Replace files atomically: a reader sees the old content or the new content, never a part of it."""

import errno
import fcntl
import glob
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

import msgspec

T = TypeVar("T")

_MOST_LINKS = 40  # as the kernel follows


@contextmanager
def writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write to. When the context ends without an error, it replaces the file at `path`.

    Errors name `path`. Links are followed. A pipe, a device or an open descriptor such as /dev/stdout is written to,
    not replaced.
    """
    descriptor = _find_descriptor(path)
    try:
        if descriptor is not None or _is_special(path):
            with open(path if descriptor is None else os.dup(descriptor), "wb") as special:  # noqa: PTH123
                yield special
            return
        target = Path(os.path.realpath(path))
        with _drafting(target, Path.touch) as draft, draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.replace(target)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def writing_folder(folder: Path, state_dir: Path) -> Iterator[Path]:
    """Yield a folder to write to. When the context ends without an error, it becomes `folder`, which must be new.

    Until then a link in `state_dir` leads to it, so that the next run finds what a killed process has left.
    """
    with _drafting(folder, Path.mkdir) as draft:
        link = state_dir / draft.name
        with suppress(OSError):  # the data directory may be read-only
            link.symlink_to(draft)
        try:
            yield draft
            draft.replace(folder)
        finally:
            with suppress(OSError):
                link.unlink()


@contextmanager
def _drafting(target: Path, create: Callable[[Path], object]) -> Iterator[Path]:
    """Yield a new draft beside the target, locked: one without a lock is left of a process that was killed."""
    # The name is cut because it may have the greatest length that the file system allows.
    name = target.name[:50]
    delete_drafts(target.parent, name)
    while True:
        draft = target.with_name(f".{name}.{os.urandom(4).hex()}.draft")
        create(draft)
        with suppress(FileNotFoundError):
            lock = os.open(draft, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if draft.exists():
                break
            os.close(lock)  # another process took it for a leftover before it was locked
    try:
        yield draft
    finally:
        remove(draft)
        os.close(lock)


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it; do nothing if there is none."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    """Whether the path is something other than a regular file."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _find_descriptor(path: Path) -> int | None:
    """Return the number of the open descriptor that the path names, if it names one."""
    for _ in range(_MOST_LINKS):
        if os.path.realpath(path.parent) in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(path.name) if path.name.isdecimal() else None
        try:
            path = path.parent / path.readlink()
        except OSError:
            break
    return None


def find_leftovers(folder: Path, name: str = "*") -> Iterator[Path]:
    """Yield the drafts that killed processes have left in a folder, of all files or of those with this name."""
    for draft in folder.glob(f".{name if name == '*' else glob.escape(name)}.*.draft"):
        with suppress(OSError):
            lock = os.open(draft, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield draft
            finally:
                os.close(lock)


def delete_drafts(folder: Path, name: str = "*") -> None:
    """Delete the drafts that killed processes have left in a folder, of all files or of those with this name.

    A link of `writing_folder` is deleted with the draft that it leads to, which has the same name.
    """
    for draft in find_leftovers(folder, name):
        if draft.is_symlink():
            if draft.readlink().name == draft.name:
                remove(draft.readlink())
            draft.unlink()
        else:
            remove(draft)


def read_json(path: Path, kind: type[T]) -> T | None:
    """Return the content of a JSON file; None if it is missing, unreadable or of another type."""
    with suppress(OSError, ValueError):
        return msgspec.json.decode(path.read_bytes(), type=kind)
    return None


def write_whole(path: Path, content: bytes) -> None:
    """Replace the content of a file atomically."""
    with writing_whole(path) as file:
        file.write(content)


def move_whole(source: Path, path: Path) -> None:
    """Replace the file at `path`, or the one that it links to, by another one, atomically and durably."""
    target = Path(os.path.realpath(path))
    with source.open("rb") as file:
        os.fsync(file.fileno())
        try:
            source.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                error.filename = str(target)
                raise
            with writing_whole(target) as copy:
                shutil.copyfileobj(file, copy)
                shutil.copymode(source, copy.name)
            source.unlink()
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
