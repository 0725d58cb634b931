"""Regressions on encoded architectures, as LINAS compares them; cross-validation chooses strength and family.

Source: Cummings et al. 2022, A Hardware-Aware Framework for Accelerating Neural Architecture Search Across
Modalities, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netdyno.base.errors import InputError, UnknownName
from netdyno.nas.space import Population, Space
from netdyno.profiler.cost.regressions import fold_splits, support_vectors

Floats = NDArray[np.float64]

LEAST = 10
FAMILIES = ("ridge", "linear-svr", "svr")
METHODS = (*FAMILIES, "stacked", "auto")


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

    def __call__(self, X: Population) -> Floats:
        """``X (n, genes)`` to ``(n, features)``."""
        sizes = self.WEIGHT * (self._sizes(X) - self._mean) / self._scale
        return np.concatenate([self._space.features(X), sizes], axis=1)

    def _sizes(self, X: Population) -> Floats:
        return np.log(np.stack([self._space.macs(X), self._space.params(X)], axis=1))


@dataclass(frozen=True)
class Regression:
    """A weighted sum of models on one encoding; ``method`` names what cross-validation chose."""

    encoding: Encoding
    models: tuple[Any, ...]
    weights: Floats
    method: str
    cv_mae: float
    """Mean absolute error over the folds, on architectures that the fit did not see."""

    def __call__(self, X: Population) -> Floats:
        """``X (n, genes)`` to ``(n,)``."""
        features = self.encoding(X)
        predicted = np.stack([model.predict(features) for model in self.models], axis=1)
        total: Floats = predicted @ self.weights
        return total


def fit_regression(space: Space, X: Population, y: Floats, method: str = "auto", seed: int = 0) -> Regression:
    """Fit one of ``ridge``, ``linear-svr``, ``svr``, ``stacked``, or what has the least error, to ``X (n, genes)``.

    ``stacked`` is the non-negative sum of all families that comes nearest to values ``y (n,)`` of unseen folds.

    Raises:
        UnknownName: no such method.
        InputError: fewer than ten architectures, or not one finite value each.
    """
    check_method(method)
    population, target = space.check(X), np.asarray(y, np.float64)
    if target.shape != (len(population),) or len(target) < LEAST or not np.isfinite(target).all():
        raise InputError(f"a predictor needs one finite value for each of at least {LEAST} architectures")
    encoding = Encoding(space, population)
    with threadpool_limits(1, user_api="blas"):  # small matrices: several threads cost more than they bring
        return _fit(encoding, encoding(population), target, method, seed)


def check_method(method: str) -> None:
    """Make sure that this is the name of a regression.

    Raises:
        UnknownName: it is not.
    """
    if method not in METHODS:
        raise UnknownName("predictor", method, METHODS)


def _fit(encoding: Encoding, features: Floats, target: Floats, method: str, seed: int) -> Regression:
    named = {name: _candidates(name) for name in FAMILIES if method in (name, "stacked", "auto")}
    best = {name: _best(family, features, target, seed) for name, family in named.items()}
    unseen = np.stack([held_out for _, _, held_out in best.values()], axis=1)
    errors = dict(zip(best, np.abs(unseen - target[:, None]).mean(axis=0).tolist(), strict=True))
    if method in ("stacked", "auto"):
        errors["stacked"] = float(np.abs(_stacked_unseen(unseen, target, seed) - target).mean())
    chosen = min(errors, key=errors.__getitem__) if method == "auto" else method
    weights = dict(zip(best, _stack(unseen, target).tolist(), strict=True)) if chosen == "stacked" else {chosen: 1.0}
    used = {name: weight for name, weight in weights.items() if weight > 0}
    return Regression(
        encoding,
        tuple(best[name][1].fit(features, target) for name in used),
        np.array(list(used.values())),
        " + ".join(best[name][0] for name in used),
        errors[chosen],
    )


def _candidates(family: str) -> dict[str, Any]:
    """Models of one family and of several strengths, by what they are called."""
    from sklearn.linear_model import Ridge

    if family == "ridge":
        return {f"ridge {alpha:g}": Ridge(alpha) for alpha in (0.3, 1.0, 3.0, 10.0, 30.0)}
    if family == "linear-svr":
        costs = (0.003, 0.01, 0.03, 0.1)
        return {f"linear-svr {cost:g}": support_vectors(kernel="linear", C=cost) for cost in costs}
    return {
        f"svr {cost:g} {gamma:g}": support_vectors(C=cost, gamma=gamma)
        for cost in (1.0, 10.0, 100.0)
        for gamma in (0.003, 0.01, 0.03)
    }


def _best(family: Mapping[str, Any], features: Floats, y: Floats, seed: int) -> tuple[str, Any, Floats]:
    """Name and model of the strength with the least error, and what it predicts on folds that it did not see."""
    from sklearn.model_selection import cross_val_predict

    folds = fold_splits(seed)
    unseen = {name: cross_val_predict(model, features, y, cv=folds) for name, model in family.items()}
    name = min(unseen, key=lambda name: float(np.abs(unseen[name] - y).mean()))
    return name, family[name], unseen[name]


def _stack(unseen: Floats, y: Floats) -> Floats:
    """Non-negative weights ``(families,)`` of predictions ``(n, families)``."""
    from scipy.optimize import nnls

    weights: Floats = nnls(unseen, y)[0]
    return weights if weights.any() else np.full(len(weights), 1 / len(weights))


def _stacked_unseen(unseen: Floats, y: Floats, seed: int) -> Floats:
    """The stacked prediction on folds that the weights did not see either."""
    stacked = np.empty_like(y)
    for seen, rest in fold_splits(seed).split(unseen):
        stacked[rest] = unseen[rest] @ _stack(unseen[seen], y[seen])
    return stacked
