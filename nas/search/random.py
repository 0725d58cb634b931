"""Random search: the baseline that every other method must beat."""

from __future__ import annotations

import numpy as np

from netdyno.nas.search.evaluator import Evaluator

BATCH = 1000


def search_random(evaluate: Evaluator, seed: int) -> None:
    """Uniformly sampled architectures, evaluated a thousand at a time."""
    generator = np.random.default_rng(seed)
    evaluate(evaluate.first(min(BATCH, evaluate.left), generator))
    while True:
        evaluate(evaluate.space.sample(BATCH, generator))
