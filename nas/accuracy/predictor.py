"""Accuracy predictors fitted to evaluated architectures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.space import Population, Space

FOLDS = 5
LEAST = 10


class Encoding:
    """What predictors see of architectures: the masked one-hot encoding, and the size of the whole network.

    The logarithms of MACs and parameters are scaled by those of the architectures ``X`` that a fit saw, and weigh as
    much as a few genes together: no sum over single genes can say how they multiply.
    """

    WEIGHT = 3.0

    def __init__(self, space: Space, X: Population) -> None:
        self._space = space
        sizes = self._sizes(X)
        self._mean, self._scale = sizes.mean(axis=0), np.maximum(sizes.std(axis=0), 1e-9)

    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, genes)`` to ``(n, features)``."""
        sizes = self.WEIGHT * (self._sizes(X) - self._mean) / self._scale
        return np.concatenate([self._space.features(X), sizes], axis=1)

    def _sizes(self, X: Population) -> NDArray[np.float64]:
        return np.log(np.stack([self._space.macs(X), self._space.params(X)], axis=1))


class FittedAccuracy(Accuracy):
    """The mean of several regressions on :class:`Encoding`; ``method`` names what cross-validation chose."""

    def __init__(self, encoding: Encoding, models: Sequence[Any], method: str, cv_mae: float) -> None:
        self._encoding = encoding
        self._models = models
        self.method = method
        self.cv_mae = cv_mae
        """Mean absolute error in percentage points over the folds, on architectures that the fit did not see."""

    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, genes)`` to percent ``(n,)``."""
        features = self._encoding(X)
        mean = np.mean([model.predict(features) for model in self._models], axis=0)
        percent: NDArray[np.float64] = np.clip(mean, 0.0, 100.0)
        return percent


def fit_accuracy(space: Space, X: Population, y: NDArray[np.float64], seed: int = 0) -> FittedAccuracy:
    """Fit a predictor to architectures ``X (n, genes)`` of known accuracy ``y (n,)`` in percent.

    The mean of a ridge and a support vector regression; five-fold cross-validation chooses the strengths of each.

    Raises:
        InputError: fewer than ten architectures, or not one accuracy each.
    """
    from sklearn.model_selection import KFold, cross_val_predict

    population = space.check(X)
    target = np.asarray(y, np.float64)
    if target.shape != (len(population),) or len(target) < LEAST or not np.isfinite(target).all():
        raise InputError(f"a predictor needs one accuracy for each of at least {LEAST} architectures")
    encoding = Encoding(space, population)
    features = encoding(population)
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    chosen: dict[str, Any] = {}
    unseen: list[NDArray[np.float64]] = []
    for family in (_ridges(), _machines()):
        held_out = {name: cross_val_predict(model, features, target, cv=folds) for name, model in family.items()}
        best = min(held_out, key=lambda name: float(np.abs(held_out[name] - target).mean()))
        chosen[best] = family[best].fit(features, target)
        unseen.append(held_out[best])
    cv_mae = float(np.abs(np.mean(unseen, axis=0) - target).mean())
    return FittedAccuracy(encoding, list(chosen.values()), " + ".join(chosen), cv_mae)


def _ridges() -> dict[str, Any]:
    from sklearn.linear_model import Ridge

    return {f"ridge {alpha:g}": Ridge(alpha) for alpha in (0.3, 1.0, 3.0, 10.0, 30.0)}


def _machines() -> dict[str, Any]:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    return {
        f"svr {cost:g} {gamma:g}": TransformedTargetRegressor(
            SVR(C=cost, gamma=gamma, epsilon=0.05), transformer=StandardScaler()
        )
        for cost in (1.0, 10.0, 100.0)
        for gamma in (0.003, 0.01, 0.03)
    }
