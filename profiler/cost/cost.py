"""What the cost models fitted to measured networks share."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.objective import Optimisable
from netdyno.base.registry import Registry
from netdyno.profiler.cost.additive import CHUNK, Floats, LayeredSpace

__all__ = ["CHUNK", "COST_MODELS", "Cost", "Floats", "GeneSpace", "check_readings", "fit_cost"]

COST_MODELS = Registry("cost model", "netdyno.cost_models")


class GeneSpace(LayeredSpace, Protocol):
    """What a fitted cost needs to know of a search space."""

    def check(self, X: Any) -> NDArray[np.int64]:
        """``X`` as a population ``(n, genes)`` of this space."""

    def features(self, X: NDArray[np.int64]) -> Floats:
        """Masked one-hot encoding ``(n, features)``."""

    def option_counts(self, X: NDArray[np.int64]) -> Floats:
        """How many active genes take each option, ``(n, options)``."""


class Cost(Optimisable):
    """A cost with an interval, vectorised over populations."""

    def interval(self, X: NDArray[np.int64]) -> Floats:
        """95 % interval of a measurement, ``(n, 2)``."""
        raise NotImplementedError


def fit_cost(
    space: GeneSpace, X: Any, y: Any, method: str = "few-sample", *, seed: int = 0, name: str = "latency_ms"
) -> Cost:
    """Fit a cost model to architectures ``X (n, genes)`` of measured cost ``y (n,)``.

    Raises:
        UnknownName: no such method.
        InputError: too few architectures, or not one positive, finite cost each.
    """
    fit = COST_MODELS.load(method)
    cost: Cost = fit(space, space.check(X), np.asarray(y, np.float64), seed=seed, name=name)
    return cost


def check_readings(X: NDArray[np.int64], y: Floats, least: int) -> None:
    """Make sure that there is one positive, finite cost for each of enough architectures.

    Raises:
        InputError: there is not.
    """
    if y.shape != (len(X),) or not np.isfinite(y).all() or not (y > 0).all():
        raise InputError("a cost model needs one positive, finite cost for each architecture")
    if len(y) < least:
        raise InputError(f"this cost model needs at least {least} measured architectures, not {len(y)}")
