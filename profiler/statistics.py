"""From raw readings to a figure that says how wrong it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 999


@dataclass(frozen=True)
class Estimate:
    """A median with its bootstrap interval; ``samples`` readings stand behind it."""

    median: float
    low: float
    high: float
    samples: int


def estimate(visits: Sequence[NDArray[np.float64]], seed: int = 0) -> Estimate:
    """The median over visits of each visit's median, with a percentile bootstrap interval at 95 %.

    Readings of one visit follow each other within milliseconds and share its conditions, so the visit, not the
    reading, is the unit that is resampled. With a single visit its readings are resampled instead.
    """
    values = np.array([np.median(visit) for visit in visits]) if len(visits) > 1 else visits[0]
    low, high = _bootstrap(values, seed)
    median = float(np.median(values))
    samples = sum(len(visit) for visit in visits)
    # Interpolated percentiles of nearly equal values may miss the median by a rounding error.
    return Estimate(median, min(low, median), max(high, median), samples)


def _bootstrap(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    chosen = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.median(values[chosen], axis=1), [tail, 100 - tail])
    return float(low), float(high)


def relative_spread(medians: Sequence[float]) -> float:
    """Half-width of the median's 95 % interval relative to it, by the quick rule that decides when to stop.

    1.57 · IQR / √n is the notch of McGill, Tukey & Larsen 1978; infinite below four values.
    """
    if len(medians) < 4:
        return math.inf
    low, middle, high = np.percentile(medians, [25, 50, 75])
    return float(1.57 * (high - low) / math.sqrt(len(medians)) / middle)
