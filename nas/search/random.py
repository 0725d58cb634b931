"""Random search: the baseline that every other method must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdyno.base.objective import Objective
from netdyno.base.progress import Progress, silent
from netdyno.nas.search.front import Evaluator, Front
from netdyno.nas.space import Space

BATCH = 1000


def search_random(
    space: Space, objectives: Sequence[Objective], *, evaluations: int, seed: int, progress: Progress = silent
) -> Front:
    """Uniformly sampled architectures, evaluated a thousand at a time."""
    generator = np.random.default_rng(seed)
    evaluate = Evaluator(space, objectives, evaluations)
    while evaluate.left > 0:
        evaluate(space.sample(min(BATCH, evaluate.left), generator))
        progress("search", evaluate.spent, evaluations, f"{len(evaluate.best)} on the front")
    return evaluate.front()
