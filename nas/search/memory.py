"""What architectures scored, so that none is evaluated twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netdyno.nas.search.problem import Scores
from netdyno.nas.space import Population

_MOST = 1_000_000
"""Architectures that are remembered, in some 200 MB; with more, those so far are forgotten."""


class Memory:
    """Scores by genes, as long as they fit."""

    def __init__(self, objectives: int) -> None:
        self._position: dict[bytes, int] = {}
        self._rows = np.empty((1024, objectives + 1))

    def scores(self, X: Population, evaluate: Callable[[Population], Scores]) -> tuple[Scores, NDArray[np.int64]]:
        """Scores of ``X (n, genes)``, and positions of the rows that had to be evaluated."""
        keys = [genes.tobytes() for genes in X.astype(np.uint16)]
        first: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            if key not in self._position:
                first.setdefault(key, position)
        new = np.fromiter(first.values(), np.int64, len(first))
        if len(new):
            scores = evaluate(X[new])
            self._keep(list(first), np.column_stack([scores.F, scores.violation]))
        rows = self._rows[[self._position[key] for key in keys]]
        if len(self._position) > _MOST:
            self._position.clear()
        return Scores(rows[:, :-1], rows[:, -1]), new

    def _keep(self, keys: list[bytes], rows: NDArray[np.float64]) -> None:
        begin = len(self._position)
        end = begin + len(keys)
        if end > len(self._rows):
            larger = np.empty((max(2 * len(self._rows), end), self._rows.shape[1]))
            larger[:begin] = self._rows[:begin]
            self._rows = larger
        self._rows[begin:end] = rows
        self._position.update(zip(keys, range(begin, end), strict=True))
