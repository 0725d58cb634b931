"""What architectures scored, so that none is evaluated twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netdyno.nas.search.problem import Scores
from netdyno.nas.space import Population

_MOST = 1_000_000
"""Architectures that are remembered, in some 100 MB; with more, those so far are forgotten."""
_SLOTS = 4096
_FREE = np.uint64(0)

Keys = NDArray[np.uint64]


class Memory:
    """Scores by genes, as long as they fit: a hash table of arrays, whole populations looked up at once.

    An architecture is known by a random linear hash of its genes, which two of them share with a probability of at
    most 2⁻⁶⁰: any two of a million, in one search of two million.
    """

    def __init__(self, genes: int, objectives: int) -> None:
        self._factors = np.random.default_rng(0).integers(1, 2**64, genes, np.uint64, endpoint=False)
        self._columns = objectives + 1
        self._clear(_SLOTS)

    def scores(self, X: Population, evaluate: Callable[[Population], Scores]) -> tuple[Scores, NDArray[np.int64]]:
        """Scores of ``X (n, genes)``, and positions of the rows that had to be evaluated."""
        keys = np.maximum(X.astype(np.uint64) @ self._factors, np.uint64(1))
        distinct, first, same = np.unique(keys, return_index=True, return_inverse=True)
        slots = self._find(distinct)
        new = first[self._keys[slots] == _FREE]
        if len(new):
            scores = evaluate(X[new])
            self._keep(keys[new], np.column_stack([scores.F, scores.violation]))
            slots = self._find(distinct)
        rows = self._rows[slots[same]]
        if self._count > _MOST:
            self._clear(_SLOTS)
        return Scores(rows[:, :-1], rows[:, -1]), new

    def _find(self, keys: Keys) -> NDArray[np.int64]:
        """Where each key stands, or the free slot that it would take."""
        last = len(self._keys) - 1
        slots = (keys >> np.uint64(64 - last.bit_length())).astype(np.int64)
        searching = np.arange(len(keys))
        while len(searching):
            found = self._keys[slots[searching]]
            searching = searching[(found != keys[searching]) & (found != _FREE)]
            slots[searching] = (slots[searching] + 1) & last
        return slots

    def _keep(self, keys: Keys, rows: NDArray[np.float64]) -> None:
        self._count += len(keys)
        if 2 * self._count > len(self._keys):
            old = self._keys != _FREE
            keys, rows = np.concatenate([self._keys[old], keys]), np.concatenate([self._rows[old], rows])
            self._clear(4 * len(self._keys), len(keys))
        while len(keys):  # of several that want the same free slot one gets it
            slots = self._find(keys)
            self._keys[slots] = keys
            settled = self._keys[slots] == keys
            self._rows[slots[settled]] = rows[settled]
            keys, rows = keys[~settled], rows[~settled]

    def _clear(self, slots: int, count: int = 0) -> None:
        self._keys = np.full(slots, _FREE)
        self._rows = np.empty((slots, self._columns))
        self._count = count
