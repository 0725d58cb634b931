"""Regressions on encoded genes: linear, ridge, support vectors, stacked, as LINAS compares them; and HyperPower's.

Source: Cummings et al. 2022, A Hardware-Aware Framework for Accelerating Neural Architecture Search Across
Modalities, Section 4. Five-fold cross-validation chooses each one's strength.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.profiler.cost.cost import Cost, Floats, GeneSpace, layer_counts
from netdyno.profiler.cost.fit import check_readings
from netdyno.profiler.statistics import NORMAL_95

Encoding = Callable[[NDArray[np.int64]], Floats]

FOLDS = 5
LEAST = 10
ALPHAS = (0.01, 0.1, 1.0, 10.0, 100.0)
COSTS = (0.1, 1.0, 10.0, 100.0)
GAMMAS = (0.003, 0.01, 0.03, 0.1)


class RegressionCost(Cost):
    """A regression's prediction; ``cv_mape`` is its error in percent on folds that the fit did not see.

    ``encode`` makes of architectures ``X (n, genes)`` what the model takes, ``(n, columns)``.
    """

    def __init__(self, encode: Encoding, model: Any, name: str, residuals: Floats, cv_mape: float) -> None:
        self.name = name
        self.cv_mape = cv_mape
        self._encode = encode
        self._model = model
        self._half = NORMAL_95 * float(np.sqrt(np.mean(residuals**2)))

    def __call__(self, X: NDArray[np.int64]) -> Floats:
        """``X (n, genes) int64`` to ``(n,)``."""
        features = self._encode(X)
        return np.asarray(self._model.predict(features), np.float64) if len(features) else np.empty(0)

    def interval(self, X: NDArray[np.int64]) -> Floats:
        """95 % interval ``(n, 2)`` from the residuals of the folds, the same width everywhere."""
        middle = self(X)
        return np.stack([middle - self._half, middle + self._half], axis=1)


def fit_additive(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> Cost:
    """A non-negative cost for each layer, wherever it occurs, and a constant: a lookup table read off networks."""
    from sklearn.linear_model import LinearRegression

    def encode(X: NDArray[np.int64]) -> Floats:
        return np.concatenate([layer_counts(space, X), np.ones((len(X), 1))], axis=1)

    return _fit(encode, X, y, LinearRegression(positive=True, fit_intercept=False), seed, name)


def fit_structural(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> Cost:
    """The linear model of power and memory over structural hyperparameters, ``Σ w_j z_j`` and a constant.

    Few networks make it a ridge. Source: Stamoulis et al. 2018 (HyperPower); thesis, Eq. 3.2 and 3.3.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return _fit(space.structure, X, y, make_pipeline(StandardScaler(), _ridge()), seed, name)


def fit_linear(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> Cost:
    """Least squares with non-negative coefficients."""
    from sklearn.linear_model import LinearRegression

    return _fit(space.features, X, y, LinearRegression(positive=True), seed, name)


def fit_ridge(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> Cost:
    """Ridge regression."""
    return _fit(space.features, X, y, _ridge(), seed, name)


def fit_linear_svr(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> Cost:
    """A linear support vector regression."""
    return _fit(space.features, X, y, _svr(seed, kernel=["linear"], C=COSTS), seed, name)


def fit_svr(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> Cost:
    """A support vector regression with radial basis functions."""
    return _fit(space.features, X, y, _rbf(seed), seed, name)


def fit_stacked(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> Cost:
    """Ridge and support vectors, a ridge on top of both."""
    from sklearn.ensemble import StackingRegressor

    stacked = StackingRegressor([("ridge", _ridge()), ("svr", _rbf(seed))], _ridge(), cv=fold_splits(seed))
    return _fit(space.features, X, y, stacked, seed, name)


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(ALPHAS)


def _rbf(seed: int) -> Any:
    return _svr(seed, kernel=["rbf"], C=COSTS, gamma=GAMMAS)


def _svr(seed: int, **grid: Sequence[Any]) -> Any:
    """Support vectors, their strength chosen from ``grid``."""
    from sklearn.model_selection import GridSearchCV

    named = {f"regressor__{parameter}": values for parameter, values in grid.items()}
    return GridSearchCV(support_vectors(), named, scoring="neg_mean_absolute_error", cv=fold_splits(seed))


def support_vectors(**parameters: Any) -> Any:
    """A support vector regression on standardised targets, with parameters of scikit-learn's."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    return TransformedTargetRegressor(SVR(epsilon=0.05, **parameters), transformer=StandardScaler())


def fold_splits(seed: int) -> Any:
    """Five folds of shuffled architectures, as scikit-learn takes them."""
    from sklearn.model_selection import KFold

    return KFold(FOLDS, shuffle=True, random_state=seed)


def _fit(encode: Encoding, X: NDArray[np.int64], y: Floats, model: Any, seed: int, name: str) -> RegressionCost:
    """Fit a model, and find its error on architectures that a fit has not seen.

    Raises:
        InputError: fewer than ten architectures, or not one positive cost each.
    """
    from sklearn.model_selection import cross_val_predict

    check_readings(X, y, LEAST)
    features = encode(X)
    unseen = np.asarray(cross_val_predict(model, features, y, cv=fold_splits(seed)), np.float64)
    cv_mape = float(100 * np.abs(unseen / y - 1).mean())
    return RegressionCost(encode, model.fit(features, y), name, unseen - y, cv_mape)
