"""Architectures as points that a Gaussian process takes: near to one another where trainings are likely alike."""

from __future__ import annotations

import numpy as np

from netdyno.nas.search.bayes import Floats
from netdyno.nas.space import GeneGroup, Population, Space

STEP = ("learning_rate", "momentum")
ALIKE = 6.0
"""How much farther apart than by one size points lie by all sizes together: that much more it tells.

Of 0 to 16, 6 and 10 served best in ``benchmarks/hyperpower.py``.
"""


def informed(space: Space, X: Population) -> Floats:
    """Points as of :func:`in_cube`, and two columns of what tells most of a training, as far as genes say it."""
    return np.concatenate([in_cube(space, X), size(space, X), step(space, X)], axis=1)


def size(space: Space, X: Population) -> Floats:
    """What an architecture's sizes have in common, ``(n, 1)``; ``(n, 0)`` where none are numbers.

    That larger networks err less, or more, is so learnt from all sizes at once, and of each only how it differs.
    """
    recipe = space.recipe(space.smallest())
    sizes = [group for group in space.groups if group.name not in recipe and not _is_named(group)]
    if not sizes:
        return np.empty((len(X), 0))
    mean = np.concatenate([_place(space, X, group) for group in sizes], axis=1).mean(axis=1, keepdims=True)
    found: Floats = 0.5 + ALIKE * (mean - 0.5)
    return found


def step(space: Space, X: Population) -> Floats:
    """How far a training's step goes, ``(n, 1)`` in the logarithm; ``(n, 0)`` where genes say no rate and momentum.

    A gradient moves weights by rate / (1 − momentum) in the end: trainings of one such step are alike, whatever it is
    made of, and a model that is told so needs half of the trainings.
    """
    values = {group.name: np.array(group.values) for group in space.groups if group.name in STEP}
    if len(values) < len(STEP):
        return np.empty((len(X), 0))
    rate, momentum = (values[name][X[:, space.columns[name]]] for name in STEP)
    ends = [np.log(f(values[STEP[0]]) / (1 - f(values[STEP[1]]))) for f in (np.min, np.max)]
    found: Floats = (np.log(rate / (1 - momentum)) - ends[0]) / (ends[1] - ends[0])
    return found


def in_cube(space: Space, X: Population) -> Floats:
    """Architectures ``(n, genes)`` as points between 0 and 1, ``(n, columns)``.

    A gene of numbers is its option's place among all; one of names has a column an option, 1 for the one taken.
    """
    return np.concatenate([_place(space, X, group) for group in space.groups], axis=1)


def _place(space: Space, X: Population, group: GeneGroup) -> Floats:
    """A group's columns of a point."""
    options = X[:, space.columns[group.name]]
    last = len(group.values) - 1
    if not _is_named(group):
        return options / max(last, 1)
    taken: Floats = (options[:, :, None] == np.arange(last + 1)).reshape(len(X), options.shape[1] * (last + 1)) * 1.0
    return taken


def _is_named(group: GeneGroup) -> bool:
    return any(isinstance(value, str) for value in group.values)
