"""Accuracy predictors fitted to evaluated architectures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netdyno.base.ranges import SEED
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.regression import Regression, fit_regression
from netdyno.nas.space import Population, Space


class FittedAccuracy(Accuracy):
    """A regression's prediction, kept to percentages; ``method`` names what cross-validation chose."""

    def __init__(self, regression: Regression) -> None:
        self._regression = regression
        self.method = regression.method
        self.cv_mae = regression.cv_mae
        """Mean absolute error in percentage points over the folds, on architectures that the fit did not see."""

    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, genes)`` to percent ``(n,)``."""
        percent: NDArray[np.float64] = np.clip(self._regression(X), 0.0, 100.0)
        return percent


def fit_accuracy(
    space: Space, X: Population, y: NDArray[np.float64], seed: int = 0, method: str = "auto"
) -> FittedAccuracy:
    """Fit a predictor to architectures ``X (n, genes)`` of known accuracy ``y (n,)`` in percent.

    ``method``: ``ridge``, ``linear-svr``, ``svr``, ``stacked``, or ``auto``, which cross-validation chooses.

    Raises:
        UnknownName: no such method.
        InputError: fewer than ten architectures, or not one accuracy each.
    """
    SEED.check(seed)
    return FittedAccuracy(fit_regression(space, X, y, method, seed))
