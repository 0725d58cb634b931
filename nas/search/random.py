"""Random search: the baseline that every other method must beat."""

from __future__ import annotations

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.operators import spread
from netdyno.nas.space import Population, Space

BATCH = 1000
MOST_DRAWS = 1_000_000
"""Architectures that are drawn in search of one that keeps to the constraints."""


def search_random(evaluate: Evaluator, seed: int) -> None:
    """Uniformly sampled architectures, evaluated a thousand at a time."""
    generator = np.random.default_rng(seed)
    evaluate(evaluate.first(min(BATCH, evaluate.left), generator))
    while True:
        evaluate(evaluate.space.sample(BATCH, generator))


def search_random_walk(evaluate: Evaluator, seed: int, *, step: float = 0.15) -> None:
    """From the best so far to somewhere near it, one architecture at a time.

    Each gene moves by a normal step, ``step`` of its options wide; names are drawn anew with that probability.
    Source: Stamoulis 2020, section 3.4 (random walk).

    Raises:
        InputError: several objectives, or no step.
    """
    if len(evaluate.problem.objectives) != 1:
        raise InputError("a random walk follows one objective; make the others constraints, or take random")
    if not 0 < step <= 1:
        raise InputError("a random walk needs a step above 0 and at most 1")
    generator, space = np.random.default_rng(seed), evaluate.space
    first = evaluate.first(max(len(evaluate.given), 1), generator)
    scores = evaluate(first)
    best = int(np.lexsort((scores.F[:, 0], scores.violation))[0])
    stands, value = first[best], (scores.violation[best], scores.F[best, 0])
    while True:
        moved = _step(space, stands, step, generator)
        scores = evaluate(moved[None])
        if (reached := (scores.violation[0], scores.F[0, 0])) < value:
            stands, value = moved, reached


def _step(space: Space, genes: Population, step: float, generator: np.random.Generator) -> Population:
    """Somewhere near ``genes (genes,)``."""
    last = space.cardinalities - 1
    by = np.rint(generator.normal(0, step * space.cardinalities)).astype(np.int64)
    ordered = np.clip(genes + by, 0, last)
    anew = np.where(generator.random(len(genes)) < step, generator.integers(space.cardinalities), genes)
    named = np.repeat([isinstance(g.values[0], str) for g in space.groups], [g.count for g in space.groups])
    moved: Population = space.canonical(np.where(named, anew, ordered))[0]
    return moved


def search_rejection(evaluate: Evaluator, seed: int) -> None:
    """Random architectures of all sizes that keep to the constraints, one at a time; the others cost no evaluation.

    For objectives that take minutes under constraints that take none, such as accuracies that are trained and
    latencies from a table. Source: Stamoulis 2020, section 6.2.

    Raises:
        InputError: of a million architectures none kept to the constraints.
    """
    generator = np.random.default_rng(seed)
    for genes in evaluate.given:
        evaluate(genes[None])
    rejected = 0
    while True:
        drawn = evaluate.space.canonical(spread(evaluate.space, BATCH, generator))
        kept = drawn[evaluate.problem.violation(drawn) == 0]
        rejected = 0 if len(kept) else rejected + BATCH
        if rejected >= MOST_DRAWS:
            limits = " and ".join(map(str, evaluate.problem.constraints))
            raise InputError(f"of {rejected:,} random architectures none keeps to {limits}")
        for genes in kept:
            evaluate(genes[None])
