"""What every source of accuracy is to a search."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from netdyno.base.objective import Optimisable
from netdyno.nas.space import Population


class Accuracy(Optimisable):
    """Top-1 accuracy in percent; maximising it means minimising the error, 100 − accuracy."""

    name = "accuracy_pct"
    ceiling = 100.0
    complement = "error_pct"

    @abstractmethod
    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, genes)`` to percent ``(n,)``."""
