"""Grid search: regular points of a space, all of them scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.space import Population, Space

BATCH = 1000
_LARGEST = 1_000_000


def search_grid(evaluate: Evaluator, seed: int) -> None:
    """The architectures to begin with, if any were given; else all of a space, or its even grid where that is large.

    As many as there are evaluations for, in random order, so that a part of a grid says something of the whole.
    """
    generator = np.random.default_rng(seed)
    points = evaluate.given if len(evaluate.given) else grid(evaluate.space, evaluate.limit)
    for part in np.array_split(generator.permutation(points), -(-len(points) // BATCH)):
        evaluate(part)


def grid(space: Space, most: int) -> Population:
    """Every architecture, where there are no more than ``most``; else those whose genes of a group are all alike.

    Raises:
        InputError: a grid that is too large to be made.
    """
    if np.prod(space.cardinalities.astype(float)) <= min(most, _LARGEST):
        return np.stack(np.meshgrid(*map(np.arange, space.cardinalities), indexing="ij"), -1).reshape(
            -1, len(space.cardinalities)
        )
    options = {group.name: range(len(group.values)) for group in space.groups}
    if (size := math.prod(map(len, options.values()))) > _LARGEST:
        raise InputError(f"{space.name}: a grid of {size:.1e} architectures; give those to begin with")
    return tied(space, options)


def tied(space: Space, options: Mapping[str, Sequence[int]]) -> Population:
    """All combinations of options by gene group, each for every gene of its group; other groups at their first."""
    X = [space.smallest() for _ in product(*options.values())]
    for genes, chosen in zip(X, product(*options.values()), strict=True):
        for name, option in zip(options, chosen, strict=True):
            genes[space.columns[name]] = option
    return np.unique(space.canonical(np.array(X)), axis=0)


def compound(space: Space, groups: Sequence[str], steps: int = 9, base: Population | None = None) -> Population:
    """Architectures of EfficientNet's compound scaling: several groups grow together, each by its own exponent.

    From the architecture ``base (genes,)``, by default the smallest, the value of each named group grows by a power
    α^φ up to its largest, for every split of the growth between groups in ``steps`` parts and every φ in as many; the
    nearest option that the space has is taken. Source: Tan & Le 2019, section 3.3, where the split is searched by
    grid at one φ.

    Raises:
        InputError: no such group, or one whose options are names.
    """
    known = {group.name: group for group in space.groups}
    if unfit := [name for name in groups if name not in known or isinstance(known[name].values[0], str)]:
        raise InputError(f"{space.name}: cannot scale {unfit[0]!r}; it has {', '.join(known)}")
    start = space.smallest() if base is None else base
    splits = [each for each in product(range(steps + 1), repeat=len(groups)) if sum(each) == steps]
    rows = []
    for split, step in product(splits, range(1, steps + 1)):
        genes = start.copy()
        for name, part in zip(groups, split, strict=True):
            values = np.asarray(known[name].values, float)
            growth = (values.max() / values.min()) ** (part / max(split) * step / steps)
            own = values[genes[space.columns[name]]] * growth
            genes[space.columns[name]] = np.abs(np.log(values / own[:, None])).argmin(axis=1)
        rows.append(genes)
    return np.unique(space.canonical(np.array([start, *rows])), axis=0)
