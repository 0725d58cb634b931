"""What a target still leaves room for: the parts of an architecture that were nearest to being taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netdyno.nas.search.differentiable.runtime import option_costs
from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.profiler.cost.cost import LayerCost

FULL = 0.99
"""Share of a target from which on an architecture is as large as it may be."""


def fill(
    genes: Population, reluctance: NDArray[np.float64], cost: LayerCost, space: SinglePath, target: float
) -> Population:
    """The architecture ``(layers,)`` with options of more cost as long as they fit, those of least reluctance first.

    ``reluctance (layers, options + 1)`` says how far each option is from being taken, infinite for what is not there.
    Gates are few and coarse, so that a search ends some percent below a target, and now and then far below.
    """
    once, table = option_costs(cost, space)
    filled, layers = genes.copy(), np.arange(len(genes))
    while True:
        own = table[layers, filled]
        left = target - once - own.sum()
        fits = (table > own[:, None]) & (table - own[:, None] < left) & np.isfinite(reluctance)
        if left < (1 - FULL) * target or not fits.any():
            return filled
        layer, option = np.unravel_index(np.where(fits, reluctance, np.inf).argmin(), fits.shape)
        filled[layer] = option
