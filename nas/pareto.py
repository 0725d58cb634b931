"""Dominance, crowding and hypervolume; every objective is minimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def dominance(F: Floats) -> NDArray[np.bool_]:
    """``F (n, m)`` to ``(n, n)``: whether row i is no worse than row j everywhere and better somewhere."""
    no_worse = np.ones((len(F), len(F)), np.bool_)
    better = np.zeros_like(no_worse)
    for column in F.T:
        no_worse &= column[:, None] <= column
        better |= column[:, None] < column
    return no_worse & better


def ranks(F: Floats, enough: int | None = None) -> NDArray[np.int64]:
    """Front of each row of ``F (n, m)``, 0 the best; once ``enough`` rows are ranked the others share the next rank.

    Source: fast non-dominated sorting, Deb et al. 2002, section III-A, as array operations.
    """
    dominates = dominance(F)
    dominators = dominates.sum(axis=0)
    rank = np.full(len(F), -1, np.int64)
    front, ranked = 0, 0
    while ranked < (len(F) if enough is None else min(enough, len(F))):
        members = (dominators == 0) & (rank < 0)
        rank[members] = front
        ranked += int(members.sum())
        dominators = dominators - dominates[members].sum(axis=0)
        front += 1
    rank[rank < 0] = front
    return rank


def non_dominated(F: Floats) -> NDArray[np.int64]:
    """Positions of the rows of ``F (n, m)`` that no row dominates, ascending; of equal rows only the first."""
    if F.shape[1] == 2:
        return _staircase(F)
    _, first = np.unique(F, axis=0, return_index=True)
    first = np.sort(first)
    kept: NDArray[np.int64] = first[~dominance(F[first]).any(axis=0)]
    return kept


def _staircase(F: Floats) -> NDArray[np.int64]:
    """Two objectives: sorted by the first, a row stands on the front if its second is the best so far."""
    order = np.lexsort((F[:, 1], F[:, 0]))  # stable: of equal rows the first comes first
    second = F[order, 1]
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    return np.sort(order[second < best_before])


def crowding(F: Floats) -> Floats:
    """Crowding distance of each row within one front ``(n, m)``; the extremes are infinite (Deb et al. 2002)."""
    n, m = F.shape
    if n <= 2:
        return np.full(n, np.inf)
    distance = np.zeros(n)
    for column in F.T:
        order = np.argsort(column, kind="stable")
        values = column[order]
        span = values[-1] - values[0]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / span
    spread: Floats = distance / m
    return spread


def hypervolume(F: Floats, ref: Sequence[float]) -> float:
    """Exact hypervolume that ``F (n, m)`` dominates up to the reference point ``ref (m,)``."""
    import moocore

    inside = F[(np.asarray(ref) > F).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=list(ref))) if len(inside) else 0.0
