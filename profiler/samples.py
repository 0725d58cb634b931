"""The medians of rounds behind a table's latencies: what comparisons between tables stand on.

Each line of ``samples.csv.gz`` is one visit: the row's name, the process start and round that it was made in, and the
median of its readings.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.files import write_atomic
from netdyno.base.rows import read_rows
from netdyno.profiler.journal import Visit

SAMPLES = "samples.csv.gz"
_FIELDS = {
    "row": ("string", "the layer or network"),
    "start": ("integer", "process start of the runtime"),
    "round": ("integer", "round of the run"),
    "latency_ms": ("number", "median latency of the visit"),
}
_TYPES = {"row": "str", "start": "int64", "round": "int64", "latency_ms": "float64"}


def empty_samples() -> pd.DataFrame:
    """No samples, with all columns."""
    return pd.DataFrame({name: [] for name in _FIELDS}).astype(_TYPES)


def make_samples(visits: Mapping[str, Iterable[Visit]]) -> pd.DataFrame:
    """A line for each visit of each row."""
    lines = [
        (name, visit.start, visit.round, float(np.median(visit.latency_ms)))
        for name, own in visits.items()
        for visit in own
    ]
    return pd.DataFrame(lines, columns=list(_FIELDS)).astype(_TYPES)


def by_start(samples: pd.DataFrame, rows: Iterable[str]) -> list[dict[int, NDArray[np.float64]]]:
    """Medians of rounds of each of ``rows``, by process start."""
    found: dict[str, dict[int, list[float]]] = {}
    for row, start, latency_ms in zip(samples["row"], samples["start"], samples["latency_ms"], strict=True):
        found.setdefault(row, {}).setdefault(start, []).append(latency_ms)
    return [{start: np.array(own) for start, own in found.get(row, {}).items()} for row in rows]


def write_samples(folder: Path, samples: pd.DataFrame) -> list[dict[str, Any]]:
    """Write the file, and return its entry of the descriptor's resources; without samples there is neither.

    Raises:
        InputError: the folder cannot be written.
    """
    if samples.empty:
        (folder / SAMPLES).unlink(missing_ok=True)
        return []
    text = samples.to_csv(index=False, lineterminator="\n")
    write_atomic(folder / SAMPLES, gzip.compress(text.encode(), mtime=0))
    fields = [{"name": name, "type": kind, "description": text} for name, (kind, text) in _FIELDS.items()]
    resource = {
        "name": "samples",
        "path": SAMPLES,
        "format": "csv",
        "compression": "gz",
        "encoding": "utf-8",
        "schema": {"fields": fields},
    }
    return [resource]


def read_samples(folder: Path) -> pd.DataFrame:
    """The samples in a table's folder; none where there is no such file.

    Raises:
        InputError: a file that cannot be understood.
    """
    path = folder / SAMPLES
    if not path.exists():
        return empty_samples()
    rows = read_rows(path, tuple(_FIELDS))
    try:
        found = pd.DataFrame([[row[name] for name in _FIELDS] for row in rows], columns=list(_FIELDS)).astype(_TYPES)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not the samples of a table: {error}") from error
    if not found["latency_ms"].between(0, math.inf, inclusive="neither").all():
        raise InputError(f"{path}: not the samples of a table: a latency that nothing can take")
    return found
