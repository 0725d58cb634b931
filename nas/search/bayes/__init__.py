"""Bayesian optimisation, on BoTorch's Gaussian processes (extra ``lab``)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reward = Callable[[Floats], Floats]
"""Outcomes of runs ``(…, m)`` to a number ``(…)`` that is the better the larger it is."""
