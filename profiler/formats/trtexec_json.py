"""TensorRT's per-layer profiles: ``trtexec --exportProfile``, and what ``IProfiler`` gives by layer.

The first is a list that begins with ``{"count": N}`` and goes on with ``name, timeMs, averageMs, medianMs`` (older
versions have no median); the second a mapping from names to lists of ms, or of pairs of ms and a time of day.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from netdyno.base.errors import InputError
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import as_number, read_json
from netdyno.profiler.formats.rows import OperatorReading, left_out, operator_rows, other_fields
from netdyno.profiler.table import LookupTable, make_rows

_LARGEST_COUNT = 10**12


def read_trtexec_json(path: Path, choice: Choice) -> LookupTable:
    """The layers of an engine in execution order; each latency is the median where there is one, else the mean.

    Raises:
        InputError: not such a file.
    """
    choice.forbid(path)
    content = read_json(path)
    exported = isinstance(content, list)
    rows = operator_rows(path, _exported(path, content) if exported else _profiled(path, content))
    others = other_fields(content, ("count", "name", "medianMs", "averageMs")) if exported else _other_parts(content)
    conditions = {"format": "trtexec-json", "runtime": "tensorrt", **left_out(others)}
    return LookupTable(path.stem, conditions, make_rows("layer", rows))


def _exported(path: Path, content: list[Any]) -> Iterator[OperatorReading]:
    count: int | None = None
    for entry in content:
        if not isinstance(entry, dict):
            raise InputError(f"{path}: not a profile of trtexec: {entry!r:.80}")
        if set(entry) == {"count"}:
            if count is not None:
                raise InputError(f"{path}: two counts of inferences; a profile is of one engine")
            count = int(as_number(path, entry["count"]))
            if not 1 <= count <= _LARGEST_COUNT:
                raise InputError(f"{path}: not a count of inferences: {count}")
            continue
        latency = entry.get("medianMs", entry.get("averageMs"))
        yield OperatorReading("", _name(path, entry.get("name")), as_number(path, latency), count)


def _profiled(path: Path, content: Any) -> Iterator[OperatorReading]:
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a per-layer profile of TensorRT")
    for name, readings in content.items():
        if not isinstance(readings, list) or not readings:
            raise InputError(f"{path}: no readings of {name[:80]!r}")
        each = (reading[0] if isinstance(reading, list) and reading else reading for reading in readings)
        times = [as_number(path, reading) for reading in each]
        yield OperatorReading("", _name(path, name), float(np.median(times)), len(times))


def _other_parts(content: dict[str, list[Any]]) -> list[str]:
    each = [reading for readings in content.values() for reading in readings]
    return (
        ["of each reading: what stands behind its time"] if any(isinstance(reading, list) for reading in each) else []
    )


def _name(path: Path, name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise InputError(f"{path}: a layer without a name")
    return name
