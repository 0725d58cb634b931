from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from netdyno.base.scratch import PREFIX, scratch_folder

Refuses = Callable[[Callable[[], object]], str]
HOLD = """
from netdyno.base.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def hold() -> tuple[subprocess.Popen[str], Path]:
    """A process that keeps a folder until a line comes."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_goes_with_the_block(temporary: Path) -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
        assert folder.parent == temporary
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_a_live_one_holds_stays(temporary: Path) -> None:
    (killed, left), (living, held) = hold(), hold()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left.exists()
    with scratch_folder() as own:
        assert sorted(temporary.iterdir()) == sorted([held, own])
    living.communicate("\n")
    assert list(temporary.iterdir()) == []


def test_only_folders_of_this_name_go(temporary: Path) -> None:
    kept = [temporary / "other", temporary / f"{PREFIX}file", temporary / f"{PREFIX}link"]
    kept[0].mkdir()
    kept[1].write_text("x")
    kept[2].symlink_to(kept[0])
    with scratch_folder():
        assert all(path.exists() for path in kept)


def test_no_place_for_one(temporary: Path, monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "nosuch"))
    assert "$TMPDIR" in refuses(lambda: scratch_folder().__enter__())
