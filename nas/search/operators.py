"""How children are made of parents, whole generations at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netdyno.nas.space import Population, Space

Floats = NDArray[np.float64]
_ATTEMPTS = 3


@dataclass(frozen=True)
class Variation:
    """Tournaments, crossover of ``parts (levels, genes)`` and random-reset mutation with a probability a gene.

    Each pair of parents exchanges parts of one level, drawn anew for each pair. Children equal to an architecture of
    the population or to each other are mutated again.
    """

    space: Space
    parts: NDArray[np.int64]
    mutation: float

    def __call__(self, X: Population, fitness: Floats, n: int, generator: np.random.Generator) -> Population:
        """``n`` children ``(n, genes)`` of parents ``X`` with ``fitness``, smaller is better."""
        mothers, fathers = (X[tournament(fitness, n, generator)] for _ in range(2))
        children = self._cross(mothers, fathers, generator)
        children = self.space.canonical(self._mutate(children, self.mutation, generator))
        known = set(self._hash(X).tolist())
        for _ in range(_ATTEMPTS):
            stale = _repeated(self._hash(children), known)
            if not stale.any():
                break
            again = self._mutate(children[stale], max(self.mutation, 0.05), generator)
            children[stale] = self.space.canonical(again)
        return children

    def _cross(self, mothers: Population, fathers: Population, generator: np.random.Generator) -> Population:
        level = generator.integers(len(self.parts), size=len(mothers))
        coins = generator.random((len(mothers), int(self.parts.max()) + 1)) < 0.5
        from_mother = np.take_along_axis(coins, self.parts[level], axis=1)
        return np.where(from_mother, mothers, fathers)

    def _mutate(self, X: Population, rate: float, generator: np.random.Generator) -> Population:
        fresh = generator.integers(self.space.cardinalities, size=X.shape)
        return np.where(generator.random(X.shape) < rate, fresh, X)

    def _hash(self, X: Population) -> NDArray[np.int64]:
        return np.asarray(X @ self._salt, np.int64)

    @cached_property
    def _salt(self) -> NDArray[np.int64]:
        """Random odd numbers: equal sums, modulo 2⁶⁴, are equal architectures but for chances of 10⁻¹⁵."""
        salt = np.random.default_rng(0).integers(-(2**62), 2**62, len(self.space.cardinalities))
        return 2 * salt + 1


def tournament(fitness: Floats, n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Positions of ``n`` winners of binary tournaments."""
    a, b = generator.integers(len(fitness), size=(2, n))
    winners: NDArray[np.int64] = np.where(fitness[a] < fitness[b], a, b)
    return winners


def published(space: Space) -> Variation:
    """The published setting of OFA²: uniform crossover, 10 % mutation (Ito & Von Zuben 2023)."""
    return Variation(space, np.arange(len(space.cardinalities))[None], 0.1)


def by_parts(space: Space) -> Variation:
    """Crossover of whole parts of the network, and one mutated gene a child."""
    return Variation(space, space.parts(), 1 / len(space.cardinalities))


OPERATORS = {"parts": by_parts, "published": published}


def _repeated(hashes: NDArray[np.int64], known: set[int]) -> NDArray[np.bool_]:
    """Which of these are known, or stand here a second time."""
    seen = set(known)
    repeated = np.zeros(len(hashes), np.bool_)
    for position, value in enumerate(hashes.tolist()):
        repeated[position] = value in seen
        seen.add(value)
    return repeated
