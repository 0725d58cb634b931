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
        return np.concatenate([front[:0], *(_distinct(space, genes) for genes in chosen)])


def _distinct(space: Space, genes: Population) -> Population:
    """Canonical neighbours of the canonical ``genes (genes,)``: where an active gene differs, the network does."""
    near = space.canonical(neighbours(space, genes))
    others: Population = near[(near != genes).any(axis=1)]
    return others
