"""Objectives of one size: weights and penalties mean nothing between milliseconds and percent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PENALTY = 10.0
"""What a scaled objective loses where a constraint is broken by as much as its limit."""


class Scaling:
    """Objectives from 0 to 1 over the extent of the first that it is asked to scale."""

    def __init__(self) -> None:
        self._first: tuple[Floats, Floats] | None = None

    def __call__(self, F: Floats) -> Floats:
        """``F (n, objectives)`` to the same shape."""
        if self._first is None:
            extent = np.ptp(F, axis=0)
            self._first = F.min(axis=0), np.where(extent > 0, extent, 1.0)
        ideal, extent = self._first
        scaled: Floats = (F - ideal) / extent
        return scaled
