"""Fit an architecture to a target: leave out what was nearest to that, then take what there still is room for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netdyno.nas.search.differentiable.runtime import option_costs
from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.profiler.cost.cost import LayerCost

FULL = 0.99
"""Share of a target from which on an architecture is as large as it may be."""
ROUNDING = 1e-12
"""Share of what is left that is left alone: what fits to the last bit would be taken, found too much, and so on."""


def fit(
    genes: Population, reluctance: NDArray[np.float64], cost: LayerCost, space: SinglePath, target: float
) -> Population:
    """The architecture ``(layers,)`` with a few other options, so that it costs the target, or little less.

    ``reluctance (layers, options + 1)`` says how far each option is from being taken, infinite for what is not there.
    Gates are few and coarse, so that a search ends some percent beside its target, and one of few steps far from it.
    """
    table = option_costs(cost, space)[1]
    fitted, layers = genes.copy(), np.arange(len(genes))

    def change(allowed: NDArray[np.bool_], of: NDArray[np.float64]) -> bool:
        allowed = allowed & np.isfinite(reluctance)
        layer, option = np.unravel_index(np.where(allowed, of, np.inf).argmin(), table.shape)
        if allowed.any():
            fitted[layer] = option
        return bool(allowed.any())

    while True:
        more = table - table[layers, fitted][:, None]
        left = target - float(cost(fitted[None])[0])  # as whoever asks will read it: a sum of ours rounds otherwise
        if left < 0:
            saved = np.where(more < 0, -more, np.inf)
            if not change(more < 0, reluctance / saved):
                return fitted
        elif left < (1 - FULL) * target or not change((more > 0) & (more < left * (1 - ROUNDING)), reluctance):
            return fitted
