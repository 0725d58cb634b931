"""Once-for-All's own search: evolution of one objective under constraints (Cai et al. 2020).

The published code draws until an architecture keeps to the limit, and never ends where none does. Here the nearest
architecture is looked for before the search begins, and draws that do not keep to it are moved towards one that does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.space import Population

_DRAWS = 4


def search_ofa(
    evaluate: Evaluator,
    seed: int,
    *,
    population: int = 100,
    iterations: int = 500,
    parents: float = 0.25,
    mutants: float = 0.5,
    mutation: float = 0.1,
) -> None:
    """The best architecture by one objective; a share of each generation is ``mutants``, the rest is crossed over.

    ``parents`` is the share that survives and breeds, ``mutation`` the probability that a mutant's gene is set anew.

    Raises:
        InputError: several objectives, or a setting that cannot be.
    """
    if len(evaluate.problem.objectives) != 1:
        raise InputError("OFA's search minimises one objective; make the others constraints, or take ofa2")
    if population < 2 or iterations < 0 or not (0 < parents <= 1 and 0 <= mutants <= 1 and 0 <= mutation <= 1):
        raise InputError("OFA's search needs two architectures or more, and shares from 0 to 1")
    draw = _Draw(evaluate, seed)
    X = draw.feasible(lambda n: evaluate.first(n, draw.generator), population)
    value = evaluate(X).F[:, 0]
    kept = max(round(parents * population), 1)
    changed = round(mutants * population)
    for _ in range(iterations):
        order = np.argsort(value, kind="stable")[:kept]
        best, known = X[order], value[order]
        mutated = draw.feasible(partial(draw.mutants, best, mutation), changed)
        crossed = draw.feasible(partial(draw.crossed, best), population - changed)
        children = np.concatenate([mutated, crossed])
        X, value = np.concatenate([best, children]), np.concatenate([known, evaluate(children).F[:, 0]])


class _Draw:
    """Random architectures that keep to the constraints."""

    def __init__(self, evaluate: Evaluator, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self._space = evaluate.space
        self._problem = evaluate.problem
        self._safe = evaluate.feasible[0] if len(evaluate.feasible) else None

    def mutants(self, best: Population, rate: float, n: int) -> Population:
        """``n`` architectures like those of ``best``, genes set anew at a rate."""
        X = best[self.generator.integers(len(best), size=n)]
        fresh = self.generator.integers(self._space.cardinalities, size=X.shape)
        return np.where(self.generator.random(X.shape) < rate, fresh, X)

    def crossed(self, best: Population, n: int) -> Population:
        """``n`` architectures that take each gene from one of two of ``best``."""
        mothers, fathers = (best[self.generator.integers(len(best), size=n)] for _ in range(2))
        return np.where(self.generator.random(mothers.shape) < 0.5, mothers, fathers)

    def feasible(self, draw: Callable[[int], Population], n: int) -> Population:
        """``n`` of what ``draw`` makes; what breaks a limit is drawn again, then moved towards what breaks none."""
        X = draw(n)
        if self._safe is None:
            return X
        bad = np.flatnonzero(self._problem.violation(X) > 0)
        for _ in range(_DRAWS):
            if not len(bad):
                return X
            X[bad] = draw(len(bad))
            bad = bad[self._problem.violation(X[bad]) > 0]
        while len(bad):
            share = self.generator.random((len(bad), 1))
            moved = self.generator.random((len(bad), X.shape[1])) < share
            X[bad] = np.where(moved, self._safe, X[bad])
            bad = bad[self._problem.violation(X[bad]) > 0]
        return X
