from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netdyno.base.errors import InputError
from netdyno.base.files import pending, read_text, write_atomic
from netdyno.base.folders import folder_atomic, require_replaceable

Refuses = Callable[[Callable[[], object]], str]


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_full_disk_leaves_the_old_folder(full_disk: Path, refuses: Refuses) -> None:
    path = full_disk / "folder"
    with folder_atomic(path) as folder:
        (folder / "text").write_text("old")

    def overfill() -> None:
        with folder_atomic(path) as folder:
            (folder / "text").write_bytes(b"x" * 100_000)

    assert "No space left" in refuses(overfill)
    assert read_text(path / "text") == "old"
    assert _names(full_disk) == ["folder"]


def test_a_folder_appears_whole_and_takes_the_old_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    for content in ("old", "new"):
        with folder_atomic(path) as folder:
            (folder / content).write_text(content)
            assert not (path / content).exists()
        assert _names(path) == [content]
    assert _names(path.parent) == ["folder"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_folder(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with folder_atomic(path) as folder:
        (folder / "old").write_text("old")
    expected = InputError if error is OSError else error

    def fail() -> None:
        with folder_atomic(path) as folder:
            (folder / "new").write_text("new")
            raise error(1, "stopped")

    with pytest.raises(expected):
        fail()
    assert _names(tmp_path) == ["folder"]
    assert _names(path) == ["old"]


def test_a_file_or_link_is_never_replaced_by_a_folder(tmp_path: Path, refuses: Refuses) -> None:
    write_atomic(tmp_path / "file", "precious")
    (tmp_path / "link").symlink_to(tmp_path)

    def replace(path: Path) -> None:
        with folder_atomic(path):
            pytest.fail("the block ran")

    for name in ("file", "link"):
        refuses(lambda name=name: replace(tmp_path / name))
        refuses(lambda name=name: require_replaceable(tmp_path / name, ["file", "link"]))
    assert read_text(tmp_path / "file") == "precious"
    assert _names(tmp_path) == ["file", "link"]


def test_only_our_own_files_may_be_lost(tmp_path: Path, refuses: Refuses) -> None:
    require_replaceable(tmp_path / "new", [])
    require_replaceable(tmp_path, [])
    write_atomic(tmp_path / "ours", "")
    require_replaceable(tmp_path, ["ours", "more"])
    write_atomic(tmp_path / "thesis.tex", "")
    assert "thesis.tex" in refuses(lambda: require_replaceable(tmp_path, ["ours", "more"]))


def test_a_leftover_of_a_killed_process_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    pending(path).mkdir()
    write_atomic(pending(path) / "half", "written")
    require_replaceable(tmp_path, ["folder"])
    with folder_atomic(path) as folder:
        (folder / "new").write_text("new")
    assert (_names(tmp_path), _names(path)) == (["folder"], ["new"])


def test_what_a_living_process_writes_is_left_to_it(tmp_path: Path, refuses: Refuses) -> None:
    path = tmp_path / "folder"

    def again() -> None:
        with folder_atomic(path):
            pytest.fail("the block ran")

    with folder_atomic(path) as folder:
        (folder / "new").write_text("new")
        assert "another process" in refuses(again)
    assert _names(path) == ["new"]


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot exchange two names."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())


@pytest.mark.usefixtures("no_exchange")
def test_without_exchange_two_renames_do(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with folder_atomic(path) as folder:
            (folder / content).write_text(content)
    assert (_names(tmp_path), _names(path)) == (["folder"], ["new"])


@pytest.mark.usefixtures("no_exchange")
def test_two_renames_that_fail_half_way_are_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    with folder_atomic(path) as folder:
        (folder / "old").write_text("old")
    rename, calls = Path.rename, []

    def fail_second(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(InputError, match="Input/output error"), folder_atomic(path) as folder:
        (folder / "new").write_text("new")
    assert len(calls) == 3
    assert (_names(tmp_path), _names(path)) == (["folder"], ["old"])


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("standing", [True, False])
def test_a_folder_put_aside_by_a_killed_process_comes_back(standing: bool, tmp_path: Path) -> None:
    """Killed between the two renames, or after them; the next block fails, so that what comes back is seen."""
    path = tmp_path / "folder"
    for name in (".netdyno-old.folder", *(["folder"] if standing else [])):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    with pytest.raises(KeyboardInterrupt), folder_atomic(path):
        raise KeyboardInterrupt
    assert _names(tmp_path) == ["folder"]
    assert _names(path) == (["folder"] if standing else [".netdyno-old.folder"])


def test_there_is_no_moment_without_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"

    def replace(times: int) -> None:
        for number in range(times):
            with folder_atomic(path) as folder:
                (folder / "text").write_text(str(number))

    replace(1)
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(replace, 50)
        while not writer.done():
            assert path.is_dir()
        writer.result()
    assert read_text(path / "text") == "49"
