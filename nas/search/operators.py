"""How children are made of parents, whole generations at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netdyno.nas.space import Population, Space

Floats = NDArray[np.float64]
Parents = Callable[[Floats, Floats, int, np.random.Generator], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Positions of mothers and fathers, from objectives, fitness and how many."""
_NEAR = 0.1
_BEYOND = 0.1


@dataclass(frozen=True)
class Variation:
    """Mating, crossover of ``parts (levels, genes)`` and random-reset mutation with a probability a gene.

    With probability ``crossed`` a pair of parents exchanges parts of one level, drawn anew for each pair; else the
    child is of its mother alone. A share ``wild`` of the children is mutated at ``wild_mutation``.
    """

    space: Space
    parents: Parents
    parts: NDArray[np.int64]
    mutation: float
    crossed: float = 1.0
    wild: float = 0.0
    wild_mutation: float = 0.1

    def __call__(
        self, X: Population, F: Floats, fitness: Floats, n: int, generator: np.random.Generator
    ) -> Population:
        """``n`` children ``(n, genes)`` of ``X`` with objectives ``F`` and ``fitness``, smaller is better."""
        mothers, fathers = self.parents(F, fitness, n, generator)
        children = self.cross(X[mothers], X[fathers], generator)
        rate = np.where(generator.random((n, 1)) < self.wild, self.wild_mutation, self.mutation)
        return self.space.canonical(self.mutate(children, rate, generator))

    def cross(self, mothers: Population, fathers: Population, generator: np.random.Generator) -> Population:
        """A child of each pair, ``(n, genes)``."""
        n = len(mothers)
        level = generator.integers(len(self.parts), size=n)
        of_father = generator.random((n, int(self.parts.max()) + 1)) < 0.5
        of_father &= generator.random((n, 1)) < self.crossed
        return np.where(np.take_along_axis(of_father, self.parts[level], axis=1), fathers, mothers)

    def mutate(self, X: Population, rate: Floats | float, generator: np.random.Generator) -> Population:
        """``X (n, genes)``, each gene drawn anew with a probability ``rate``, one or ``(n, 1)``."""
        fresh = (generator.random(X.shape, np.float32) * self.space.cardinalities).astype(np.int64)
        return np.where(generator.random(X.shape, np.float32) < rate, fresh, X)


def tournament(fitness: Floats, n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Positions of ``n`` winners of binary tournaments."""
    a, b = generator.integers(len(fitness), size=(2, n))
    winners: NDArray[np.int64] = np.where(fitness[a] < fitness[b], a, b)
    return winners


def winners(
    F: Floats, fitness: Floats, n: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mothers and fathers by tournaments (Deb et al. 2002)."""
    return tournament(fitness, n, generator), tournament(fitness, n, generator)


def near(
    F: Floats, fitness: Floats, n: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mothers at random, fathers near them in the order of one objective, the same for the whole generation.

    Architectures of a like cost share what makes them good; those far apart mostly spoil each other. Both ends are
    drawn more often, since beyond them nobody searches: how far a front reaches is most of its hypervolume.
    """
    column = int(generator.integers(F.shape[1])) if F.shape[1] > 2 else 0
    order = np.argsort(F[:, column], kind="stable")
    beyond, last = round(_BEYOND * len(F)), len(F) - 1
    mothers = np.clip(generator.integers(-beyond, len(F) + beyond, size=n), 0, last)
    steps = np.rint(generator.normal(0, _NEAR * len(F), n)).astype(np.int64)
    return order[mothers], order[np.clip(mothers + steps, 0, last)]


def published(space: Space) -> Variation:
    """The published setting of OFA²: tournaments, uniform crossover, 10 % mutation (Ito & Von Zuben 2023)."""
    return Variation(space, winners, np.arange(len(space.cardinalities))[None], 0.1)


def by_parts(space: Space) -> Variation:
    """Mating near by, crossover of whole parts of the network in eight of ten, and one mutated gene a child."""
    return Variation(space, near, space.parts(), 1 / len(space.cardinalities), crossed=0.8, wild=0.2)


OPERATORS = {"parts": by_parts, "published": published}


def spread(space: Space, n: int, generator: np.random.Generator) -> Population:
    """``n`` architectures from the smallest to the largest: half of the genes of each at a level of its own.

    Independent genes make all of them of middling size, far from both ends of a front.
    """
    shape = (n, len(space.cardinalities))
    at = np.where(generator.random(shape) < 0.5, generator.random(shape), generator.random((n, 1)))
    return (at * space.cardinalities).astype(np.int64)
