"""Tables in other projects' formats, one a file."""

from __future__ import annotations

from pathlib import Path

from netdyno.base.registry import Registry
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.layers import Overhead
from netdyno.profiler.table import METRICS, LookupTable

__all__ = ["FORMATS", "WRITERS", "Choice", "export_table", "import_table", "unwritten"]

FORMATS = Registry("table format", "netdyno.table_formats")
WRITERS = Registry("table format to write", "netdyno.table_writers")
EVERYTHING = Choice()
WITH_CONSTANT = "tfnas-csv"
"""The format that holds what each network takes beside its layers."""


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


def unwritten(table: LookupTable, format: str) -> list[str]:
    """A line for each part of a table that another project's format does not hold: they are of layers' latencies."""
    without = int(((table.layers["valid"] != 1) | table.layers["latency_ms"].isna()).sum())
    names = ", ".join(metric for metric in METRICS[1:] if table.layers[metric].notna().any())
    parts = {
        f"{without} layers that are not valid or have no latency": without,
        f"what a call takes by itself ({Overhead().key})": Overhead().key in table.layers.index,
        f"layers' {names}": names,
        "what each network takes beside its layers": format != WITH_CONSTANT and table.conditions.get("constant_ms"),
        f"{len(table.networks)} networks": len(table.networks),
        "the calibration on whole networks": table.conditions.get("calibration"),
    }
    return [what for what, there in parts.items() if there]
