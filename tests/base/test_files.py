from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netdyno.base.errors import InputError
from netdyno.base.files import (
    cache_folder,
    is_there,
    make_folder,
    open_regular,
    pending,
    read_bytes,
    read_text,
    require_writable,
    write_atomic,
)

Refuses = Callable[[Callable[[], object]], str]


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text"
    write_atomic(path, "né")
    write_atomic(path, "né\n")
    assert read_text(path) == "né\n"
    assert _names(path.parent) == ["text"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="Input/output error"):
        write_atomic(path, "new")
    assert read_text(path) == "old"
    assert _names(tmp_path) == ["text"]


def test_a_full_disk_leaves_the_old_file(full_disk: Path, refuses: Refuses) -> None:
    path = full_disk / "text"
    write_atomic(path, "old")
    assert "No space left" in refuses(lambda: write_atomic(path, b"x" * 100_000))
    assert read_text(path) == "old"
    assert _names(full_disk) == ["text"]


@pytest.mark.parametrize("write", [lambda p: write_atomic(p / "x", ""), make_folder, require_writable])
def test_where_nothing_can_be_written(write: Callable[[Path], object], refuses: Refuses, tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", "in the way")
    for nowhere in (Path("/proc/nowhere"), tmp_path / "file" / "below"):
        assert str(nowhere) in refuses(lambda nowhere=nowhere: write(nowhere))


def test_what_cannot_be_read(tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9")
    refuses(lambda: read_text(tmp_path / "latin"))
    for path in (tmp_path, tmp_path / "missing"):
        refuses(lambda path=path: read_text(path))


def _put_fifo(path: Path) -> None:
    os.mkfifo(path)


def _put_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path.parent):
        listener.bind(path.name)


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (_put_fifo, "a pipe"),
    "socket": (_put_socket, "a socket or device"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "empty device": (lambda path: path.symlink_to("/dev/null"), "a device"),
    "folder": (lambda path: path.mkdir(), "a folder"),
    "link to nothing": (lambda path: path.symlink_to("/nowhere/at/all"), "where there is nothing"),
    "link to itself": (lambda path: path.symlink_to(path), "leads to itself"),
    "link to a pipe": (lambda path: (_put_fifo(path.with_name("pipe")), path.symlink_to("pipe")), "a pipe"),
    "nothing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path, refuses: Refuses) -> None:
    put, why = NO_FILES[kind]
    put(tmp_path / "file")
    for read in (read_bytes, read_text, open_regular):
        message = refuses(lambda read=read: read(tmp_path / "file"))
        assert why in message and str(tmp_path / "file") in message
    assert is_there(tmp_path / "file") == (kind != "nothing")


def test_names_that_no_file_can_have(refuses: Refuses) -> None:
    for name in ("a\0b", "x" * 5000):
        refuses(lambda name=name: read_bytes(Path(name)))


def test_links_are_followed_unless_they_must_not_be(tmp_path: Path, refuses: Refuses) -> None:
    write_atomic(tmp_path / "file", "content")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"content"
    assert "a symbolic link" in refuses(lambda: read_bytes(tmp_path / "link", follow_links=False))


def test_no_more_is_read_than_such_a_file_may_have(tmp_path: Path, refuses: Refuses) -> None:
    write_atomic(tmp_path / "file", b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    assert "larger" in refuses(lambda: read_bytes(tmp_path / "file", 4))
    assert "larger" in refuses(lambda: read_bytes(Path("/proc/self/maps"), 4)), "it says that it is empty"


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "netdyno"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "netdyno"
    assert cache_folder().is_dir()


def test_a_leftover_of_a_killed_process_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "text"
    pending(path).write_text("half")
    write_atomic(path, "new")
    assert (read_text(path), _names(tmp_path)) == ("new", ["text"])


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("thesis.tex", path)])
def test_what_is_no_leftover_is_never_written_to(
    make: Callable[[Path], None], tmp_path: Path, refuses: Refuses
) -> None:
    path = tmp_path / "text"
    (tmp_path / "thesis.tex").write_text("precious")
    make(pending(path))
    assert str(path) in refuses(lambda: write_atomic(path, "new"))
    assert not path.exists()
    assert read_text(tmp_path / "thesis.tex") == "precious"


def test_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    """Eight at once; every file that is seen meanwhile is one of theirs, whole."""
    path = tmp_path / "text"
    contents = {letter * 100_000 for letter in "abcdefgh"}
    write_atomic(path, "a" * 100_000)
    with ThreadPoolExecutor(9) as pool:
        writes = [pool.submit(write_atomic, path, content) for content in contents for _ in range(5)]
        while not all(write.done() for write in writes):
            assert read_text(path) in contents
        for write in writes:
            write.result()
    assert _names(tmp_path) == ["text"]
