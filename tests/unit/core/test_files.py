"""Files that are replaced as a whole: through links, beside pipes and devices, and while others write the same."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sip_trunks.core.files import (
    delete_drafts,
    find_leftovers,
    move_whole,
    write_whole,
    writing_folder,
    writing_whole,
)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_chain_of_links_is_followed_to_the_file_which_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "file"
    (tmp_path / "near").symlink_to("there/link")
    (tmp_path / "there" / "link").symlink_to("file")  # dangling at first
    for content in (b"first", b"second"):
        write_whole(tmp_path / "near", content)
        assert target.read_bytes() == content
        assert not target.is_symlink()
        assert (tmp_path / "near").readlink() == Path("there/link")
    assert sorted(path.name for path in target.parent.iterdir()) == ["file", "link"]


def test_links_that_go_round_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "a", b"x")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    (tmp_path / "link").symlink_to(pipe)
    read: list[bytes] = []
    for name in ("pipe", "link"):
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
        reader.start()
        write_whole(tmp_path / name, b"through")
        reader.join()
    assert read == [b"through"] * 2
    assert pipe.is_fifo()


def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    reading, terminal = os.openpty()
    (tmp_path / "link").symlink_to(device := Path(os.ttyname(terminal)))
    for path in (device, tmp_path / "link"):
        write_whole(path, b"through\n")
        assert os.read(reading, 100) == b"through\r\n"
    assert device.is_char_device()
    os.close(terminal)
    os.close(reading)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}", "link"])
def test_an_open_descriptor_is_written_to_where_it_is(tmp_path: Path, name: str) -> None:
    """As `--output /dev/stdout >> file` means it."""
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        file.write(b"before ")
        (tmp_path / "link").symlink_to(f"/dev/fd/{file.fileno()}")
        write_whole(tmp_path / name.format(file.fileno(), pid=os.getpid()), b"within ")
        file.write(b"after")
    assert (tmp_path / "file").read_bytes() == b"before within after"


def test_an_error_names_the_device_that_cannot_be_written() -> None:
    with pytest.raises(OSError, match="space") as caught:
        write_whole(Path("/dev/full"), b"x")
    assert caught.value.filename == "/dev/full"


def test_an_error_names_the_place_that_a_file_cannot_be_moved_to(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    (tmp_path / "link").symlink_to("nowhere/file")
    with pytest.raises(FileNotFoundError) as caught:
        move_whole(tmp_path / "source", tmp_path / "link")
    assert caught.value.filename == str(tmp_path / "nowhere" / "file")


def test_an_open_pipe_is_written_to(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    write_whole(Path(f"/dev/fd/{writing}"), b"x")
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor is not a path
        assert pipe.read() == b"x"


def test_each_writer_has_a_draft_of_its_own_and_the_last_one_wins(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with writing_whole(path) as first, writing_whole(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert names_in(tmp_path) == [path.name]


def test_drafts_of_dead_processes_are_deleted_and_those_of_others_are_not(tmp_path: Path) -> None:
    (tmp_path / ".file.0123abcd.draft").touch()
    with writing_whole(tmp_path / "file") as file:
        delete_drafts(tmp_path)
        file.write(b"x")
    assert names_in(tmp_path) == ["file"]


def test_a_folder_is_there_as_a_whole_with_the_permissions_of_the_user(tmp_path: Path) -> None:
    (tmp_path / ".copy.0123abcd.draft" / "of a dead process").mkdir(parents=True)
    before = os.umask(0o077)
    try:
        with writing_folder(tmp_path / "copy", tmp_path / "state") as draft:
            (draft / "file").touch()
            assert [path.name for path in find_leftovers(tmp_path)] == []
            assert not (tmp_path / "copy").exists()
    finally:
        os.umask(before)
    assert names_in(tmp_path) == ["copy"]
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700


def test_a_folder_of_a_dead_process_is_found_from_the_state(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    state.mkdir()
    left, kept = elsewhere / ".old.0123abcd.draft", elsewhere / "mine"
    for folder in (left, kept):
        (folder / "sub").mkdir(parents=True)
    (state / left.name).symlink_to(left)
    (state / ".other.0123abcd.draft").symlink_to(kept)
    with writing_folder(elsewhere / "copy", state) as draft:
        assert (state / draft.name).readlink() == draft
        assert {path.name for path in find_leftovers(state)} == {left.name, ".other.0123abcd.draft"}
        delete_drafts(state)
        (draft / "file").touch()
    assert names_in(state) == []
    assert sorted(names_in(elsewhere)) == ["copy", "mine"]
    assert names_in(elsewhere / "copy") == ["file"]


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(TypeError), writing_whole(tmp_path / "file") as file:
        file.writelines([b"new", "no bytes"])  # type: ignore[list-item]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_file_is_moved_to_another_file_system_with_its_permissions(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with TemporaryDirectory(dir="/dev/shm") as memory:
        source.write_bytes(b"x")
        source.chmod(0o640)
        (tmp_path / "link").symlink_to(f"{memory}/file")
        move_whole(source, tmp_path / "link")
        assert Path(memory, "file").read_bytes() == b"x"
        assert Path(memory, "file").stat().st_mode & 0o777 == 0o640
        assert names_in(Path(memory)) == ["file"]
    assert names_in(tmp_path) == ["link"]


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
