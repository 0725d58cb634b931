"""From raw readings to a figure that says how wrong it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 999
FEW = 50
LEAST_RESAMPLES, MOST_DRAWN = 99, 50_000_000
"""More than 50,000 values need fewer resamples: their interval is a two-hundredth of their spread."""
MOST_AT_ONCE = 1_000_000
"""Values drawn together, 8 bytes each in several arrays."""
NORMAL_95 = 1.96
"""Standard deviations on either side of the mean that hold 95 % of a normal variable."""
ROUNDING = 1e-9
TRIMMED = 0.25
"""Share of the readings that is left out at either end."""


@dataclass(frozen=True)
class Estimate:
    """A median with its bootstrap interval; ``samples`` readings stand behind it."""

    median: float
    low: float
    high: float
    samples: int


def estimate(visits: Sequence[NDArray[np.float64]], starts: Sequence[int], seed: int = 0) -> Estimate:
    """The median over visits of each visit's median, starts of equal weight, with a bootstrap interval at 95 %.

    Readings of one visit follow each other within milliseconds and share its conditions, and visits of one process
    start share its memory layout; ``starts`` says which start each visit belongs to. So starts are resampled, and
    visits within them, not readings (Davison & Hinkley 1997, Section 3.8). With a single visit its readings are.
    """
    samples = sum(len(visit) for visit in visits)
    if len(visits) == 1:
        values, clusters = np.asarray(visits[0], np.float64), np.zeros(samples, np.int64)
    else:
        values, clusters = np.array([middle(visit) for visit in visits]), np.asarray(starts)
    low, high = _bootstrap(values, clusters, seed)
    median = _balanced_median(values, clusters)
    # Interpolated percentiles of nearly equal values may miss the median by a rounding error.
    return Estimate(median, min(low, median), max(high, median), samples)


def middle(values: NDArray[np.float64]) -> float:
    """The median of a visit's readings; of a few, NumPy's takes ten times as long."""
    if len(values) > FEW:
        return float(np.median(values))
    ranked = sorted(values.tolist())
    return float((ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2)


def _balanced_median(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """The median of values of which each cluster's have one weight together, so that a long start counts for one."""
    _, own, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(1 / sizes[own][order])
    half = reached[-1] / 2
    lower = int(np.searchsorted(reached, half * (1 - ROUNDING)))
    upper = int(np.searchsorted(reached, half * (1 + ROUNDING)))
    return float(values[order][[lower, min(upper, len(values) - 1)]].mean())


def _bootstrap(values: NDArray[np.float64], clusters: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Ends of the interval of the median when clusters, and values within them, are drawn anew."""
    order = np.argsort(clusters, kind="stable")
    _, first, sizes = np.unique(clusters[order], return_index=True, return_counts=True)
    generator = np.random.default_rng(seed)
    each = max(round(len(values) / len(sizes)), 1)
    resamples = max(min(RESAMPLES, MOST_DRAWN // len(values)), LEAST_RESAMPLES)
    drawn = generator.integers(len(sizes), size=(resamples, len(sizes), 1))
    medians, at_once = [], max(MOST_AT_ONCE // len(values), 1)
    for part in (drawn[i : i + at_once] for i in range(0, resamples, at_once)):
        within = generator.random((len(part), len(sizes), each)) * sizes[part]
        chosen = values[order][first[part] + within.astype(np.int64)].reshape(len(part), -1)
        medians.append(np.median(chosen, axis=1))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(medians), [tail, 100 - tail])
    return float(low), float(high)


def relative_spread(medians: Sequence[float]) -> float:
    """Half-width of the median's 95 % interval relative to it, by the quick rule that decides when to stop.

    1.57 · IQR / √n is the notch of McGill, Tukey & Larsen 1978; infinite below four values.
    """
    if len(medians) < 4:
        return math.inf
    low, middle, high = np.percentile(medians, [25, 50, 75])
    return float(1.57 * (high - low) / math.sqrt(len(medians)) / middle)


def trimmed_mean(values: Sequence[float]) -> float:
    """The mean without the outer quarters: readings in whole units are averaged, hiccups are not."""
    ordered = np.sort(np.array(values, np.float64))
    cut = int(TRIMMED * len(ordered))
    return float(ordered[cut : len(ordered) - cut].mean())
