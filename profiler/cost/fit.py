"""Cost models fitted to measured networks, by the name of their method."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.ranges import SEED
from netdyno.base.registry import Registry
from netdyno.profiler.cost.cost import Cost, Floats, GeneSpace

COST_MODELS = Registry("cost model", "netdyno.cost_models")


def fit_cost(
    space: GeneSpace, X: Any, y: Any, method: str = "few-sample", *, seed: int = 0, name: str = "latency_ms"
) -> Cost:
    """Fit a cost model to architectures ``X (n, genes)`` of measured cost ``y (n,)``.

    Raises:
        UnknownName: no such method.
        InputError: too few architectures, or not one positive, finite cost each.
    """
    fit = COST_MODELS.load(method)
    SEED.check(seed)
    cost: Cost = fit(space, space.check(X), np.asarray(y, np.float64), seed=seed, name=name)
    return cost


def cross_validate(
    space: GeneSpace, X: Any, y: Any, method: str, *, folds: int = 10, seed: int = 0, name: str = "latency_ms"
) -> Floats:
    """Root mean square percentage error on each of some folds that the fit did not see, ``(folds,)``.

    Raises:
        UnknownName: no such method.
        InputError: fewer architectures than folds, or too few of them for the method.
    """
    population, target = space.check(X), np.asarray(y, np.float64)
    check_readings(population, target, folds)
    parts = np.array_split(np.random.default_rng(seed).permutation(len(population)), folds)
    errors = []
    for unseen in parts:
        seen = np.setdiff1d(np.arange(len(population)), unseen)
        cost = fit_cost(space, population[seen], target[seen], method, seed=seed, name=name)
        errors.append(100 * np.sqrt(np.mean((cost(population[unseen]) / target[unseen] - 1) ** 2)))
    return np.array(errors)


def check_readings(X: NDArray[np.int64], y: Floats, least: int) -> None:
    """Make sure that there is one positive, finite cost for each of enough architectures.

    Raises:
        InputError: there is not.
    """
    if y.shape != (len(X),) or not np.isfinite(y).all() or not (y > 0).all():
        raise InputError("a cost model needs one positive, finite cost for each architecture")
    if len(y) < least:
        raise InputError(f"this cost model needs at least {least} measured architectures, not {len(y)}")
