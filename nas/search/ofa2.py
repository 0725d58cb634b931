"""OFA²: many-objective search of a supernet's space with NSGA-II (Ito & Von Zuben 2023).

Whole populations are arrays: one generation is a handful of array operations, whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.objective import Objective
from netdyno.base.progress import Progress, silent
from netdyno.nas import pareto
from netdyno.nas.search.front import Evaluator, Front
from netdyno.nas.space import Population, Space

Floats = NDArray[np.float64]


def search_ofa2(
    space: Space,
    objectives: Sequence[Objective],
    *,
    evaluations: int,
    seed: int,
    population: int = 100,
    mutation: float | None = None,
    progress: Progress = silent,
) -> Front:
    """NSGA-II with uniform crossover and random-reset mutation.

    ``mutation`` is the probability that a gene is set anew; by default it changes one gene in an architecture, while
    the published setting is 0.1. Children equal to an architecture of the population are replaced by mutants.

    Raises:
        InputError: an empty population.
    """
    if population < 1:
        raise InputError(f"a population has at least one architecture, not {population}")
    generator = np.random.default_rng(seed)
    evaluate = Evaluator(space, objectives, evaluations)
    rate = 1 / len(space.cardinalities) if mutation is None else mutation
    X = space.canonical(space.sample(min(population, evaluations), generator))
    F = evaluate(X)
    rank, distance = _grade(F, len(X))
    while evaluate.left > 0:
        children = _offspring(space, X, rank, distance, rate, generator)[: evaluate.left]
        X, F, rank, distance = _survive(
            np.concatenate([X, children]), np.concatenate([F, evaluate(children)]), population
        )
        progress("search", evaluate.spent, evaluations, f"{len(evaluate.best)} on the front")
    return evaluate.front()


def _offspring(
    space: Space,
    X: Population,
    rank: NDArray[np.int64],
    distance: Floats,
    rate: float,
    generator: np.random.Generator,
) -> Population:
    """As many children as there are parents, ``(n, genes)``, new ones as far as possible."""
    mothers, fathers = (X[_tournament(rank, distance, len(X), generator)] for _ in range(2))
    children = np.where(generator.random(X.shape) < 0.5, mothers, fathers)
    children = space.canonical(_mutate(space, children, rate, generator))
    known = {row.tobytes() for row in X}
    for _ in range(3):
        stale = _repeated(children, known)
        if not stale.any():
            break
        children[stale] = space.canonical(_mutate(space, children[stale], max(rate, 0.05), generator))
    return children


def _repeated(children: Population, known: set[bytes]) -> NDArray[np.bool_]:
    """Which children stand in the population or earlier among the children."""
    seen = set(known)
    repeated = np.zeros(len(children), np.bool_)
    for position, row in enumerate(children):
        key = row.tobytes()
        repeated[position] = key in seen
        seen.add(key)
    return repeated


def _tournament(
    rank: NDArray[np.int64], distance: Floats, n: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Positions of ``n`` winners of binary tournaments: the better rank, then the wider crowding distance."""
    a, b = generator.integers(len(rank), size=(2, n))
    a_wins = (rank[a] < rank[b]) | ((rank[a] == rank[b]) & (distance[a] > distance[b]))
    winners: NDArray[np.int64] = np.where(a_wins, a, b)
    return winners


def _mutate(space: Space, X: Population, rate: float, generator: np.random.Generator) -> Population:
    fresh = generator.integers(space.cardinalities, size=X.shape)
    mutants: Population = np.where(generator.random(X.shape) < rate, fresh, X)
    return mutants


def _survive(X: Population, F: Floats, n: int) -> tuple[Population, Floats, NDArray[np.int64], Floats]:
    """The ``n`` best by rank, then by crowding distance, with both."""
    rank, distance = _grade(F, n)
    chosen = np.lexsort((-distance, rank))[:n]
    return X[chosen], F[chosen], rank[chosen], distance[chosen]


def _grade(F: Floats, n: int) -> tuple[NDArray[np.int64], Floats]:
    """Rank and crowding distance of each row; only the first ``n`` ranked rows matter."""
    rank = pareto.ranks(F, n)
    distance = np.zeros(len(F))
    for front in range(int(rank.max()) + 1):
        members = np.flatnonzero(rank == front)
        distance[members] = pareto.crowding(F[members])
    return rank, distance
