"""How much slower than usual a device was at each visit, as those before and after it tell.

A machine that is shared is slow for seconds at a time, and whatever is visited meanwhile comes out slow. Rounds are
shuffled, so neighbours in time are others in each: what a candidate takes and what the device adds are told apart by
the median of each in turn (median polish, Tukey 1977), the device's over neighbours in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from netdyno.profiler.journal import Visit
from netdyno.profiler.statistics import middle

Floats = NDArray[np.float64]

NEIGHBOURS = 10
"""Visits on either side that tell."""
LEAST = 10
"""Other candidates among them that it takes: few would have their own noise taken for the device's."""
AT_ONCE = 65_536
"""Visits whose neighbours are looked at together, which bounds memory."""
TURNS = 10
"""Of the two medians; neither moves much by then."""
NOBODY = -1
TINY_MS = 1e-9
"""Below any clock's tick, which a median of zero stands for."""


def levelled(visits: Mapping[str, Sequence[Visit]]) -> dict[str, list[Visit]]:
    """The same visits, by candidate and in the order of time, each with the device's ``slowdown`` about then."""
    named = ((name, visit) for name, own in visits.items() for visit in own)
    in_time = sorted(named, key=lambda each: each[1].turn)
    medians_ms = np.array([middle(visit.latency_ms) for _, visit in in_time], np.float64)
    found: dict[str, list[Visit]] = {name: [] for name in visits}
    slow = slowdowns([name for name, _ in in_time], medians_ms)
    for (name, visit), factor in zip(in_time, slow.tolist(), strict=True):
        found[name].append(replace(visit, slowdown=factor))
    return found


def slowdowns(candidates: Sequence[str], latency_ms: Floats) -> Floats:
    """How many times as slow as usual the device was at each visit, ``(n,)``, of visits in the order of time.

    Usual is what half of all visits saw; 1 where too few others were visited about then to tell.
    """
    if not len(latency_ms):
        return np.empty(0)
    which, _ = pd.factorize(np.asarray(candidates, object))
    log, near = np.log(np.maximum(latency_ms, TINY_MS)), _windows(which, NOBODY)
    parts = [slice(i, i + AT_ONCE) for i in range(0, len(log), AT_ONCE)]
    telling = np.concatenate([_telling(near[part], which[part]) for part in parts])
    slow, known = np.zeros(len(log)), telling.any(axis=1)
    for _ in range(TURNS if known.any() else 0):
        own = pd.Series(log - slow).groupby(which).transform("median").to_numpy()
        seen = _windows(log - own, np.nan)
        slow = np.concatenate([_medians(seen[part], telling[part]) for part in parts])
        slow[known] -= np.median(slow[known])
    found: Floats = np.exp(slow)
    return found


def _medians(values: NDArray[Any], chosen: NDArray[np.bool_]) -> Floats:
    """The median of each row's chosen values, ``(n,)``; 0 where none is."""
    ranked = np.sort(np.where(chosen, values, np.inf), axis=1)
    count = chosen.sum(axis=1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=1)
    found: Floats = np.take_along_axis(ranked, middle, axis=1).mean(axis=1)
    return np.where(count > 0, found, 0.0)


def _telling(near: NDArray[np.int64], which: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which neighbours tell of each visit, ``(n, window)``: others, where they are of enough different candidates."""
    others = (near != which[:, None]) & (near != NOBODY)
    ranked = np.sort(np.where(others, near, NOBODY), axis=1)
    different = (ranked[:, 1:] != ranked[:, :-1]).sum(axis=1) + (ranked[:, 0] != NOBODY)
    enough: NDArray[np.bool_] = others & (different >= LEAST)[:, None]
    return enough


def _windows(values: NDArray[Any], beyond: float) -> NDArray[Any]:
    """Each value amid its neighbours, ``(n, window)``; ``beyond`` stands where there are none."""
    return sliding_window_view(np.pad(values, NEIGHBOURS, constant_values=beyond), 2 * NEIGHBOURS + 1)
