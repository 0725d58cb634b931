"""What a search's result is worth under a target: accuracy, less for runtime beyond it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WITHIN, BEYOND = 0.0, -1.0
"""Powers of the runtime by the target, up to it and beyond it: MnasNet's for a limit that is to be kept."""


def reward(outcomes: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """Of accuracies and runtimes ``(…, 2)``, ``(…)``: accuracy × (runtime / target)^w.

    Source: Tan et al. 2019 (MnasNet), Eq. 2 and 3, which λ is tuned by in Stamoulis 2020, section 6.3.
    """
    accuracy, runtime = outcomes[..., 0], outcomes[..., 1]
    relative = np.maximum(runtime / target, np.finfo(np.float64).tiny)
    found: NDArray[np.float64] = accuracy * relative ** np.where(relative <= 1, WITHIN, BEYOND)
    return found
