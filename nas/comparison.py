"""How good fronts and predictions are, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netdyno.nas import pareto

Floats = NDArray[np.float64]
_MARGIN = 0.05


def reference_point(fronts: Sequence[Floats]) -> Floats:
    """A point that every row of the fronts ``(n, m)`` beats: their worst values and a twentieth of their extent."""
    every = np.concatenate(list(fronts))
    worst: Floats = every.max(axis=0)
    extent = np.ptp(every, axis=0)
    return worst + _MARGIN * np.where(extent > 0, extent, np.maximum(np.abs(worst), 1.0))


def normalised_hypervolume(F: Floats, ref: Floats, all_fronts: Sequence[Floats]) -> float:
    """Hypervolume of ``F (n, m)`` as a share of what all fronts together dominate up to ``ref``, from 0 to 1."""
    together = pareto.hypervolume(np.concatenate(list(all_fronts)), ref.tolist())
    return pareto.hypervolume(F, ref.tolist()) / together if together else 0.0


def attainment(growth: Floats, ref: Floats, at: Sequence[int]) -> Floats:
    """Hypervolume after each number of evaluations in ``at``, ``(len(at),)``.

    ``growth (k, 1 + m)``: points with the number of evaluations after which they were known.
    """
    values = np.zeros(len(at))
    for position, evaluations in enumerate(at):
        known = growth[growth[:, 0] <= evaluations, 1:]
        values[position] = pareto.hypervolume(known, ref.tolist())
    return values


@dataclass(frozen=True)
class Agreement:
    """How predictions and measurements agree: rank correlations, and the mean absolute error in percent."""

    kendall_tau: float
    spearman: float
    mape_pct: float


def agreement(predicted: Floats, measured: Floats) -> Agreement:
    """Agreement of ``predicted (n,)`` with ``measured (n,)``; no correlation (NaN) where one of them is constant."""
    from scipy.stats import kendalltau, spearmanr

    varied = len(measured) > 1 and np.ptp(predicted) > 0 and np.ptp(measured) > 0
    tau = float(kendalltau(predicted, measured).statistic) if varied else float("nan")
    rho = float(spearmanr(predicted, measured).statistic) if varied else float("nan")
    return Agreement(tau, rho, float(np.abs(predicted / measured - 1).mean() * 100))
