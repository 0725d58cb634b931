"""Results of several files: whole before, between and after; by hand is not by accident."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from netdyno.base.files import pending
from netdyno.base.result import add_to_result, find_parts, reading, replace_result

Refuses = Callable[[Callable[[], object]], str]
DESCRIPTOR = "result.json"
OLD = {"a.csv": b"old a", "b.csv": b"old b", "only-old.csv": b"old"}
NEW = {"a.csv": b"new a", "b.csv": b"new b", "only-new.csv": b"new"}


def _read(folder: Path) -> tuple[dict[str, bytes], tuple[str, ...]]:
    parts = find_parts(folder, json.loads((folder / DESCRIPTOR).read_text()))
    found = {name: parts.path(name) for name in {*OLD, *NEW}}
    return {name: path.read_bytes() for name, path in found.items() if path and path.exists()}, parts.edited


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_result_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "result"
    replace_result(folder, DESCRIPTOR, {"name": "old"}, OLD)
    for name in ("journal.sqlite", "notes.txt"):
        (folder / name).write_text("stays")
    replace_result(folder, DESCRIPTOR, {"name": "new"}, NEW)
    assert _read(folder) == (NEW, ())
    assert _names(folder) == {*NEW, DESCRIPTOR, "journal.sqlite", "notes.txt"}
    assert json.loads((folder / DESCRIPTOR).read_text())["name"] == "new"


class _Killed(BaseException):
    """A process that ends between two calls."""


def _step(whole: Callable[..., None], countdown: Iterator[int | None], *words: Path) -> None:
    if next(countdown) is None:
        raise _Killed
    whole(*words)


def test_whole_before_and_after_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends before each rename and removal in turn; readers, then the next writer."""
    seen = set()
    for position in range(20):
        folder = tmp_path / str(position)
        replace_result(folder, DESCRIPTOR, {}, OLD)
        with monkeypatch.context() as patch:
            countdown = iter([*range(position), None])
            for name in ("replace", "unlink"):
                patch.setattr(os, name, partial(_step, getattr(os, name), countdown))
            try:
                replace_result(folder, DESCRIPTOR, {}, NEW)
                break
            except _Killed:
                pass
        content, edited = _read(folder)
        assert content in (OLD, NEW) and not edited
        seen.add(content == NEW)
        # Another result than the one that was interrupted: what was committed must not be lost meanwhile.
        add_to_result(folder, DESCRIPTOR, {"only-new.csv": b"added"})
        assert _read(folder) == (content | {"only-new.csv": b"added"}, ())
        replace_result(folder, DESCRIPTOR, {}, NEW)
        assert _read(folder) == (NEW, ())
        assert _names(folder) - {"only-old.csv"} == {*NEW, DESCRIPTOR}, "but for a file that no descriptor lists"
    assert position > 4 and seen == {True, False}


@pytest.mark.parametrize("change", ["edited", "touched", "removed"])
def test_what_was_changed_by_hand_is_told(change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    replace_result(tmp_path, DESCRIPTOR, {}, OLD)
    path = tmp_path / "a.csv"
    if change == "removed":
        path.unlink()
    else:
        path.write_bytes(b"mine" if change == "edited" else OLD["a.csv"])
    content, edited = _read(tmp_path)
    assert edited == (() if change == "touched" else ("a.csv",))
    assert content.get("a.csv") == {"edited": b"mine", "touched": OLD["a.csv"], "removed": None}[change]
    for _ in range(2):
        find_parts(tmp_path, json.loads((tmp_path / DESCRIPTOR).read_text())).tell()
    assert len(caplog.messages) == len(edited)


def test_a_leftover_of_another_write_is_not_read(tmp_path: Path) -> None:
    replace_result(tmp_path, DESCRIPTOR, {}, OLD)
    for name in ("a.csv", "only-new.csv", DESCRIPTOR):
        pending(tmp_path / name).write_bytes(b"half")
    assert _read(tmp_path) == (OLD, ())
    replace_result(tmp_path, DESCRIPTOR, {}, NEW)
    assert (_read(tmp_path), _names(tmp_path)) == ((NEW, ()), {*NEW, DESCRIPTOR})


def test_a_result_of_before_digests_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTOR).write_text("{}")
    for name, content in OLD.items():
        (tmp_path / name).write_bytes(content)
    assert _read(tmp_path) == (OLD, ())
    add_to_result(tmp_path, DESCRIPTOR, {"only-new.csv": b"added"})
    assert _read(tmp_path) == (OLD | {"only-new.csv": b"added"}, ())
    replace_result(tmp_path, DESCRIPTOR, {}, NEW, former=OLD)
    assert (_read(tmp_path), _names(tmp_path)) == ((NEW, ()), {*NEW, DESCRIPTOR})


@pytest.mark.parametrize(
    "listed", ["[]", "7", '{"../x": "%s"}', '{"..": "%s"}', '{"": "%s"}', '{"a": "short"}', '{"a": 5}']
)
def test_hostile_lists_are_refused(listed: str, tmp_path: Path, refuses: Refuses) -> None:
    text = f'{{"sha256": {listed.replace("%s", "0" * 64)}}}'
    with pytest.raises(ValueError, match="digest"):
        find_parts(tmp_path, json.loads(text))
    (tmp_path / DESCRIPTOR).write_text(text)
    assert DESCRIPTOR in refuses(lambda: add_to_result(tmp_path, DESCRIPTOR, {"a": b""}))


def test_a_fifo_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    replace_result(tmp_path, DESCRIPTOR, {}, OLD)
    (tmp_path / "a.csv").unlink()
    os.mkfifo(tmp_path / "a.csv")
    assert find_parts(tmp_path, json.loads((tmp_path / DESCRIPTOR).read_text())).edited == ("a.csv",)


def test_readers_and_writers_at_once(tmp_path: Path) -> None:
    """Every result that is read is one of both, whole, and never taken for edited."""
    replace_result(tmp_path, DESCRIPTOR, {}, OLD)

    def alternate() -> None:
        for number in range(20):
            replace_result(tmp_path, DESCRIPTOR, {}, (NEW, OLD)[number % 2])

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(alternate) for _ in range(2)]
        while not all(writer.done() for writer in writers):
            with reading(tmp_path):
                assert _read(tmp_path) in ((OLD, ()), (NEW, ()))
        for writer in writers:
            writer.result()


def test_a_descriptor_that_was_changed_by_hand_is_told(tmp_path: Path) -> None:
    replace_result(tmp_path, DESCRIPTOR, {"seed": 1}, OLD)
    path = tmp_path / DESCRIPTOR
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    assert _read(tmp_path) == (OLD, ("the descriptor",))
    add_to_result(tmp_path, DESCRIPTOR, {"more.csv": b"1"})
    assert _read(tmp_path)[1] == ("the descriptor",), "adding a file does not undo that"
