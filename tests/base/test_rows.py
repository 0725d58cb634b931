from __future__ import annotations

import gzip
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netdyno.base import rows
from netdyno.base.rows import read_rows, stream_cells, stream_rows

Refuses = Callable[[Callable[[], object]], str]


def test_rows_are_read_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b,more\n1,"x, ""y""\nz",\n2,é,3\n')
    assert read_rows(path, ["b", "a"]) == [
        {"a": "1", "b": 'x, "y"\nz', "more": ""},
        {"a": "2", "b": "é", "more": "3"},
    ]
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_rows(tmp_path / "a.csv.gz", ["a"]) == read_rows(path, ["a"])
    for ends in ("\r\n", "\r"):
        path.write_bytes(f"\ufeffa,b{ends}1,2{ends}".encode())
        assert read_rows(path, ["a", "b"]) == [{"a": "1", "b": "2"}], "spreadsheets write marks and ends of their own"


def test_a_file_is_read_no_further_than_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n" + "2,3\n" * 1000)
    cells: Iterator[list[str]] = stream_cells(tmp_path / "a.csv")
    assert [next(cells), next(cells)] == [["a"], ["1"]]


def test_too_many_rows(tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 11)
    assert "more than 10 rows" in refuses(lambda: list(stream_rows(tmp_path / "a.csv", ["a"], 10)))
    assert len(list(stream_rows(tmp_path / "a.csv", ["a"], 11))) == 11


@pytest.mark.parametrize(
    ("first", "unit"),
    [
        (b"", b"\n"),
        (b"", b"1\n"),
        (b"", b"1"),
        (b"", b'"\n",'),
        (b'"', b"\n"),
        (b"", b","),
        (b"", b"\0"),
        (b"", b'""'),
    ],
    ids=["blank rows", "rows", "a cell", "a row of lines", "a cell of lines", "cells", "zeros", "quotes"],
)
def test_what_unpacks_to_hundreds_of_megabytes(
    first: bytes, unit: bytes, tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of what stands there suffices to see memory grow with the file."""
    monkeypatch.setattr(rows, "LARGEST_FILE", rows.LARGEST_FILE // 10)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a\n" + first + unit * (3 * 10**7 // len(unit)), 1))
    before = _peak_mb()
    message = refuses(lambda: [None for _ in stream_rows(tmp_path / "a.csv.gz", ["a"])])
    assert "a.csv.gz" in message
    assert _peak_mb() - before < 40


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"a\n1\n")[:-4], gzip.compress(b"a\n1\n")[:-9], b"\x1f\x8b", b"a\n1\n", b""],
    ids=["no length", "no checksum", "two bytes", "text", "empty"],
)
def test_damaged_archives(content: bytes, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "a.csv.gz").write_bytes(content)
    refuses(lambda: read_rows(tmp_path / "a.csv.gz", ["a"]))


def test_a_large_plain_file_is_not_even_begun(tmp_path: Path, refuses: Refuses) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(b"a\n")
        file.truncate(rows.LARGEST_FILE + 1)
    assert "larger" in refuses(lambda: read_rows(tmp_path / "a.csv", ["a"]))
