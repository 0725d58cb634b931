"""A cost model from ten to a few hundred measured networks: physical work first, deviations where the data show them.

A network's cost is a constant, what its physical work costs (see :class:`netdyno.profiler.work.Work`), what each
option costs wherever it is chosen, and what each layer costs beyond its work. The later terms start at zero and leave
it as far as the readings demand; a layer's deviation is expected in proportion to its work.
"""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.profiler.cost.cost import CHUNK, Cost, Floats, GeneSpace, layer_counts
from netdyno.profiler.cost.evidence import Fit, Group, fit_groups
from netdyno.profiler.cost.fit import check_readings
from netdyno.profiler.lower import lower, no_weights
from netdyno.profiler.statistics import NORMAL_95
from netdyno.profiler.work import QUANTITIES, work

LEAST = 5
OPTION_PRIOR, LAYER_PRIOR = -3.0, -2.0
"""Expected logarithms of how much options and layers explain beyond the work, relative to it."""


class FewSampleCost(Cost):
    """The cost of architectures from a fit to few measured ones; ``name`` is what was measured, with its unit."""

    def __init__(self, space: GeneSpace, features: Features, fit: Fit, name: str) -> None:
        self.name = name
        self._space = space
        self._features = features
        self._fit = fit
        *works, options, deviations = fit.coefficients
        weights = np.concatenate(works)
        self._options = options
        self._layers = np.append(features.work @ weights + features.size * deviations, 0.0)

    def __call__(self, X: NDArray[np.int64]) -> Floats:
        """``X (n, genes) int64`` to ``(n,)``, by look-ups alone."""
        chunks = [self._cost(X[i : i + CHUNK]) for i in range(0, len(X), CHUNK)]
        return np.concatenate([np.empty(0), *chunks])

    def _cost(self, X: NDArray[np.int64]) -> Floats:
        layers = self._layers[self._space.layer_ids(X)].sum(axis=1)
        cost: Floats = self._fit.constant + layers + self._space.option_counts(X) @ self._options
        return cost

    def interval(self, X: NDArray[np.int64]) -> Floats:
        """95 % interval of a measurement ``(n, 2)``, as far as the model is right."""
        half = np.empty(len(X))
        for i in range(0, len(X), CHUNK):
            half[i : i + CHUNK] = NORMAL_95 * np.sqrt(self._fit.variance(self._features(X[i : i + CHUNK])))
        middle = self(X)
        return np.stack([middle - half, middle + half], axis=1)


class Features:
    """What the model sees of architectures: a group for each physical quantity, one of options, one of layers."""

    def __init__(self, space: GeneSpace) -> None:
        self._space = space
        works = [astuple(work(lower(layer, no_weights(layer)))) for layer in space.vocabulary()]
        quantities = np.array(works, np.float64).reshape(-1, len(QUANTITIES))
        self.work: Floats = quantities / np.maximum(quantities.mean(axis=0), 1e-12)
        """Of each layer, in units of the mean layer's, ``(vocabulary, quantities)``."""
        self.size: Floats = self.work.mean(axis=1)
        """How far a layer's cost may deviate from what its work says, ``(vocabulary,)``."""

    def __call__(self, X: NDArray[np.int64]) -> list[Floats]:
        """Features of ``X``, a group each: ``(n, 1)`` for each quantity, ``(n, options)``, ``(n, vocabulary)``."""
        counts = layer_counts(self._space, X)
        works = counts @ self.work
        return [*np.split(works, works.shape[1], axis=1), self._space.option_counts(X), counts * self.size]


def fit_few_sample(space: GeneSpace, X: NDArray[np.int64], y: Floats, *, seed: int, name: str) -> FewSampleCost:
    """Fit the model to architectures ``X (n, genes)`` of measured cost ``y (n,)``; nothing in it is drawn.

    Raises:
        InputError: fewer than five architectures, not one positive cost each, or a space without layers.
    """
    check_readings(X, y, LEAST)
    features = Features(space)
    if not len(features.size):
        raise InputError(f"{space.name} describes no layers; the few-sample model counts their work")
    *works, options, layers = features(X)
    groups = [*map(Group, works), Group(options, OPTION_PRIOR), Group(layers, LAYER_PRIOR)]
    return FewSampleCost(space, features, fit_groups(groups, y), name)
