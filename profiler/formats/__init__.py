"""Tables in other projects' formats, one a file."""

from __future__ import annotations

from pathlib import Path

from netdyno.base.registry import Registry
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.table import LookupTable

__all__ = ["FORMATS", "WRITERS", "Choice", "export_table", "import_table"]

FORMATS = Registry("table format", "netdyno.table_formats")
WRITERS = Registry("table format to write", "netdyno.table_writers")
EVERYTHING = Choice()


def import_table(path: Path, format: str, choice: Choice = EVERYTHING) -> LookupTable:
    """Read a table in another project's format.

    Rows that no measurement can give are kept as not valid, and say why. ``choice`` picks a device, runtime and
    precision from a file that holds several; a table is of one.

    Raises:
        UnknownName: no such format.
        InputError: not a table of that format, or of several devices of which none was chosen.
    """
    table: LookupTable = FORMATS.load(format)(path, choice)
    return table


def export_table(table: LookupTable, path: Path, format: str) -> list[Path]:
    """Write a table in another project's format into a folder; returns the files.

    Raises:
        UnknownName: no such format to write.
        InputError: the format has no name for one of the table's layers, or the folder cannot be written.
    """
    files: list[Path] = WRITERS.load(format)(table, path)
    return files
