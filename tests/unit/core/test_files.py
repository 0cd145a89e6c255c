"""Files that are replaced as a whole, by several processes at once and after a kill."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sip_trunks.core.files import delete_drafts, write_whole, writing_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    contents = [bytes([64 + n]) * 10_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_whole(path, contents[n % 8]), range(200)))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_that_is_being_written_stays_and_one_that_was_left_goes(tmp_path: Path) -> None:
    path = tmp_path / "state[1].json"
    left = tmp_path / ".state[1].json.0a1b2c3d.draft"
    left.write_bytes(b"half")
    other = tmp_path / ".other.0a1b2c3d.draft"
    other.write_bytes(b"half")
    with writing_whole(path) as file:
        assert not left.exists()
        assert other.exists()
        file.write(b"new")
        file.flush()
        delete_drafts(tmp_path)
        write_whole(path, b"other")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with pytest.raises(OSError, match="state") as caught, writing_whole(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
