"""A disk that is really full: a file system of a few kilobytes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netdyno.base.files import write_atomic
from netdyno.cli.main import run
from netdyno.nas.space import Space
from netdyno.profiler.journal import Journal

Refuses = Callable[[Callable[[], object]], str]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing more than a name can be kept."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("file systems are mounted by root only")
    (tmp_path / "fill").write_bytes(bytes(12 * 1024))
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_journals_say_that_it_is_full(full: Path, refuses: Refuses) -> None:
    message = refuses(lambda: Journal(full / "p" / "journal.sqlite", {}))
    assert "cannot be written" in message and "full" in message and "cannot be used" not in message


def test_a_search_says_that_it_is_full(full: Path, narrow: Space, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", str(narrow), "--objective", "macs", "--objective", "params", "--evaluations", "200"]
    assert run([*words, "--out", str(full / "r")]) == 2
    line = capsys.readouterr().err
    assert "cannot be written" in line and "full" in line and "not the journal" not in line


def test_files_say_that_it_is_full(full: Path, refuses: Refuses) -> None:
    assert "No space left" in refuses(lambda: write_atomic(full / "file", bytes(20_000)))
