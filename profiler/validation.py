"""How wrong predictions are on networks that no fit saw, beside how wrong the measured truth itself is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST = 3
"""Networks from which ranks say something."""
MEAN_TO_DEVIATION = math.sqrt(2 / math.pi)
"""Mean absolute value of a normal variable over its standard deviation."""


@dataclass(frozen=True)
class Score:
    """Mean absolute and root mean square error in percent of the measured cost, and how well ranks agree."""

    mape_pct: float
    rmspe_pct: float
    bias_pct: float
    spearman: float
    kendall_tau: float


def score(predicted: Floats, measured: Floats) -> Score | None:
    """Errors of predictions ``(n,)`` of measured costs ``(n,)``; None from fewer than three."""
    if len(measured) < LEAST:
        return None
    from scipy.stats import kendalltau, spearmanr

    errors = 100 * (predicted / measured - 1)
    return Score(
        mape_pct=float(np.abs(errors).mean()),
        rmspe_pct=float(np.sqrt((errors**2).mean())),
        bias_pct=float(errors.mean()),
        spearman=float(spearmanr(predicted, measured).statistic),
        kendall_tau=float(kendalltau(predicted, measured).statistic),
    )


def noise_floor_pct(networks: Sequence[Mapping[int, Floats]]) -> float:
    """Mean absolute error in percent that the measured costs themselves have; NaN where nothing tells.

    Each network is a mapping from process start to its medians of rounds, ``(rounds,)``. The result is the larger of
    two estimates, from halves of the rounds and from process starts, since a restart moves figures more than a round
    does. It is what a perfect prediction would be charged with.
    """
    estimates = [[_halves(medians) for medians in networks], [_starts(medians) for medians in networks]]
    known = [np.array(each)[np.isfinite(each)] for each in estimates]
    return max((100 * float(each.mean()) for each in known if len(each)), default=math.nan)


def _halves(medians: Mapping[int, Floats]) -> float:
    """Relative error of the mean of two halves: half of what they differ by."""
    rounds = np.concatenate([np.empty(0), *medians.values()])
    if len(rounds) < 2:
        return math.nan
    one, other = float(np.median(rounds[::2])), float(np.median(rounds[1::2]))
    return abs(one - other) / (one + other)


def _starts(medians: Mapping[int, Floats]) -> float:
    """Relative error of the mean over process starts, from how they scatter."""
    starts = np.array([np.median(rounds) for rounds in medians.values()])
    if len(starts) < 2:
        return math.nan
    return MEAN_TO_DEVIATION * float(starts.std(ddof=1) / starts.mean()) / math.sqrt(len(starts))
