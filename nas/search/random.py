"""Random search: the baseline that every other method must beat."""

from __future__ import annotations

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.operators import spread

BATCH = 1000
MOST_DRAWS = 1_000_000
"""Architectures that are drawn in search of one that keeps to the constraints."""


def search_random(evaluate: Evaluator, seed: int) -> None:
    """Uniformly sampled architectures, evaluated a thousand at a time."""
    generator = np.random.default_rng(seed)
    evaluate(evaluate.first(min(BATCH, evaluate.left), generator))
    while True:
        evaluate(evaluate.space.sample(BATCH, generator))


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
