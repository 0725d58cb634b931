"""The medians of rounds behind a table's latencies: what comparisons between tables stand on.

Each line of ``samples.csv.gz`` is one visit: the row's name, the process start and round that it was made in, the
median of its readings, and how slow the device was about then, which latencies are rid of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.profiler.journal import Visit
from netdyno.profiler.resource import Resource
from netdyno.profiler.statistics import middle


def _fault(samples: pd.DataFrame) -> str:
    values = samples[["latency_ms", "slowdown"]].to_numpy()
    possible = ((values > 0) & (values < math.inf)).all()
    return "" if possible else "a latency that nothing can take"


SAMPLES = Resource(
    "samples.csv.gz",
    {
        "row": ("string", "the layer or network"),
        "start": ("integer", "process start of the runtime"),
        "round": ("integer", "round of the run"),
        "latency_ms": ("number", "median latency of the visit"),
        "slowdown": ("number", "how many times as slow as usual the device was about then"),
    },
    _fault,
    {"slowdown": 1.0},
)


def make_samples(visits: Mapping[str, Iterable[Visit]]) -> pd.DataFrame:
    """A line for each visit of each row."""
    lines = [
        (name, visit.start, visit.round, middle(visit.latency_ms), visit.slowdown)
        for name, own in visits.items()
        for visit in own
    ]
    return SAMPLES.frame(lines)


def usual(samples: pd.DataFrame) -> pd.DataFrame:
    """The same samples as they would be of a device that is always as fast as usual."""
    return samples.assign(latency_ms=samples["latency_ms"] / samples["slowdown"], slowdown=1.0)


def by_start(samples: pd.DataFrame, rows: Iterable[str]) -> list[dict[int, NDArray[np.float64]]]:
    """Medians of rounds of each of ``rows``, by process start."""
    found: dict[str, dict[int, list[float]]] = {}
    for row, start, latency_ms in zip(samples["row"], samples["start"], samples["latency_ms"], strict=True):
        found.setdefault(row, {}).setdefault(start, []).append(latency_ms)
    return [{start: np.array(own) for start, own in found.get(row, {}).items()} for row in rows]
