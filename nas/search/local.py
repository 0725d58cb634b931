"""Pareto local search: what lies one gene away from a front (Paquete, Chiarandini & Stützle 2004)."""

from __future__ import annotations

import numpy as np

from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.problem import neighbours
from netdyno.nas.space import Population, Space


class Neighbourhoods:
    """Neighbours of the members of the front so far; each member's are given once, in random order."""

    def __init__(self, evaluate: Evaluator, generator: np.random.Generator) -> None:
        self._evaluate = evaluate
        self._generator = generator
        self._explored: set[bytes] = set()

    def about(self, n: int) -> Population:
        """Neighbours ``(m, genes)`` of as many members as make about ``n`` of them; none where all were given."""
        space, front = self._evaluate.space, self._evaluate.best
        fresh = [i for i, genes in enumerate(front) if genes.tobytes() not in self._explored]
        members = max(round(n / int((space.cardinalities - 1).sum())), 1)
        chosen = front[self._generator.permutation(fresh)[:members].astype(np.int64)]
        self._explored |= {genes.tobytes() for genes in chosen}
        return _distinct(space, chosen)


def _distinct(space: Space, X: Population) -> Population:
    """Canonical neighbours of the canonical ``X (n, genes)``: where an active gene differs, the network does."""
    near = neighbours(space, X)
    near = space.canonical(near.reshape(-1, X.shape[1])).reshape(near.shape)
    others: Population = near[(near != X[:, None]).any(axis=2)]
    return others
