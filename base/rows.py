"""Rows of CSV files that anybody may have written, gzipped or not."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from netdyno.base.errors import InputError

LARGEST_FILE = 256 * 1024 * 1024


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by its header, which must name each of ``columns`` once; others may stand there too.

    A file whose name ends in ``.gz`` is unpacked.

    Raises:
        InputError: no such file, not CSV, too large, a column missing, or a row of another length.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InputError(f"{path}: larger than any file of ours")
        header, *lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file: {error}") from error
    missing = [column for column in columns if header.count(column) != 1]
    if missing:
        raise InputError(f"{path}: must have the columns {', '.join(missing)} once each")
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InputError(f"{path}: row {number} has {len(line)} cells, not {len(header)}")
    return [dict(zip(header, line, strict=True)) for line in lines]
