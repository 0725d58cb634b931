"""Rows of CSV files that anybody may have written, gzipped or not: read one by one, never the whole file at once."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from netdyno.base.errors import InputError
from netdyno.base.files import open_regular

LARGEST_FILE = 128 * 2**20
"""Bytes of a file, and characters of what is unpacked."""
LONGEST_ROW = 2**20
MOST_ROWS = 1_000_000


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file at once; see :func:`stream_rows`."""
    return list(stream_rows(path, columns))


def stream_rows(path: Path, columns: Sequence[str], most_rows: int = MOST_ROWS) -> Iterator[dict[str, str]]:
    """The rows of a CSV file by its header, which must name each of ``columns`` once; others may stand there too.

    A file whose name ends in ``.gz`` is unpacked.

    Raises:
        InputError: as of :func:`stream_cells`, or a column missing.
    """
    cells = stream_cells(path, most_rows)
    header = next(cells)
    missing = [column for column in columns if header.count(column) != 1]
    if missing:
        raise InputError(f"{path}: must have the columns {', '.join(missing)} once each")
    for row in cells:
        yield dict(zip(header, row, strict=True))


def stream_cells(path: Path, most_rows: int = MOST_ROWS) -> Iterator[list[str]]:
    """The header of a CSV file and then its rows, each as long as the header.

    Raises:
        InputError: not a file to read, not CSV, a row of another length, or more rows, or longer ones, than such a
            file has.
    """
    try:
        with ExitStack() as stack:
            file = stack.enter_context(open_regular(path, LARGEST_FILE))
            unpacked = stack.enter_context(gzip.open(file)) if path.suffix == ".gz" else file
            lines = _Lines(path, io.TextIOWrapper(unpacked, "utf-8-sig", newline=""))
            rows = csv.reader(lines, strict=True)
            header = next(rows, None)
            if header is None:
                raise InputError(f"{path}: not a CSV file: it is empty")
            yield header
            lines.row = 0
            for number, row in enumerate(rows, start=2):
                if len(row) != len(header):
                    raise InputError(f"{path}: row {number} has {len(row)} cells, not {len(header)}")
                if number > most_rows + 1:
                    raise InputError(f"{path}: more than {most_rows} rows, which no such file of ours has")
                yield row
                lines.row = 0
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file: {error}") from error


class _Lines:
    """A text's lines, as long as each row and all of them together stay within bounds; ``row`` is set to 0 by row."""

    def __init__(self, path: Path, text: io.TextIOWrapper) -> None:
        self._path, self._text = path, text
        self.row = self._total = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_ROW + 1)
        if not line:
            raise StopIteration
        self.row += len(line)
        self._total += len(line)
        if self.row > LONGEST_ROW:
            raise InputError(f"{self._path}: a row of more than {LONGEST_ROW} characters")
        if self._total > LARGEST_FILE:
            raise InputError(f"{self._path}: larger than any file of ours, once it is unpacked")
        return line
