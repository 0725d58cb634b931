"""Tables in other projects' formats, one a file."""

from __future__ import annotations

from pathlib import Path

from netdyno.base.registry import Registry
from netdyno.profiler.table import LookupTable

FORMATS = Registry("table format", "netdyno.table_formats")


def import_table(path: Path, format: str) -> LookupTable:
    """Read a table in another project's format.

    Raises:
        UnknownName: no such format.
        InputError: not a table of that format.
    """
    table: LookupTable = FORMATS.load(format)(path)
    return table
