"""Dominance, crowding and hypervolume; every objective is minimised.

Infinite objectives are ordered as numbers are. A row with an objective that is not a number (NaN) dominates none,
each row without one dominates it, and it is on no front.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError

Floats = NDArray[np.float64]


def dominance(F: Floats) -> NDArray[np.bool_]:
    """``F (n, m)`` to ``(n, n)``: whether row i is no worse than row j everywhere and better somewhere."""
    no_worse = np.ones((len(F), len(F)), np.bool_)
    better = np.zeros_like(no_worse)
    for column in F.T:
        no_worse &= column[:, None] <= column
        better |= column[:, None] < column
    known = _known(F)
    return np.logical_or(no_worse & better, np.logical_and(known[:, None], ~known))


def _known(F: Floats) -> NDArray[np.bool_]:
    """Which rows have no objective that is not a number."""
    return np.logical_not(np.isnan(F).any(axis=1))


def ranks(F: Floats, enough: int | None = None) -> NDArray[np.int64]:
    """Front of each row of ``F (n, m)``, 0 the best; once ``enough`` rows are ranked the others share the next rank.

    Source: fast non-dominated sorting, Deb et al. 2002, section III-A, as array operations.
    """
    if F.shape[1] == 2 and _known(F).all():
        return _peel(F, len(F) if enough is None else enough)
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


def _peel(F: Floats, enough: int) -> NDArray[np.int64]:
    """Ranks for two objectives: sorted once, one staircase after the other is taken away."""
    order = np.lexsort((F[:, 1], F[:, 0]))
    fresh = _fresh(F[order])
    second, equal = F[order[fresh], 1], np.cumsum(fresh) - 1
    rank, left, front = np.empty(len(second), np.int64), np.arange(len(second)), 0
    several = np.bincount(equal)
    while len(left) and enough > 0:
        on = _steps(second[left])
        rank[left[on]] = front
        enough -= int(several[left[on]].sum())
        left, front = left[~on], front + 1
    rank[left] = front
    ranked = np.empty(len(F), np.int64)
    ranked[order] = rank[equal]
    return ranked


def distinct(F: Floats) -> NDArray[np.int64]:
    """Positions of the rows of ``F (n, m)``, ascending; of equal rows only the first."""
    order = np.lexsort(F.T[::-1])  # stable: of equal rows the first comes first
    return np.sort(order[_fresh(F[order])])


def _fresh(F: Floats) -> NDArray[np.bool_]:
    """Which of sorted rows differ from the one before."""
    fresh = np.ones(len(F), np.bool_)
    fresh[1:] = (F[1:] != F[:-1]).any(axis=1)
    return fresh


def _steps(second: Floats) -> NDArray[np.bool_]:
    """Which rows, sorted by the first objective, are better in the second than all before."""
    on = np.ones(len(second), np.bool_)
    on[1:] = second[1:] < np.minimum.accumulate(second)[:-1]
    return on


def non_dominated(F: Floats) -> NDArray[np.int64]:
    """Positions of the rows of ``F (n, m)`` that no row dominates, ascending; of equal rows only the first."""
    known = _known(F)
    if not known.all():
        kept = np.flatnonzero(known)
        return kept[non_dominated(F[kept])]
    if F.shape[1] == 2:
        order = np.lexsort((F[:, 1], F[:, 0]))  # stable: of equal rows the first comes first
        return np.sort(order[_steps(F[order, 1])])
    first = distinct(F)
    on: NDArray[np.int64] = first[~dominance(F[first]).any(axis=0)]
    return on


def crowding(F: Floats) -> Floats:
    """Crowding distance of each row within one front ``(n, m)``; the extremes are infinite (Deb et al. 2002).

    Beside an infinite extent of an objective finite gaps count nothing; a row that is not known in full has 0.
    """
    known = _known(F)
    if not known.all():
        distance = np.zeros(len(F))
        distance[known] = crowding(F[known])
        return distance
    n, m = F.shape
    if n <= 2:
        return np.full(n, np.inf)
    distance = np.zeros(n)
    for column in F.T:
        order = np.argsort(column, kind="stable")
        values = column[order]
        distance[order[[0, -1]]] = np.inf
        if values[0] < values[-1]:
            with np.errstate(invalid="ignore", over="ignore"):  # infinity minus infinity is no gap
                gaps, span = values[2:] - values[:-2], values[-1] - values[0]
                gaps = np.where(values[2:] == values[:-2], 0.0, gaps)
            distance[order[1:-1]] += gaps / span if np.isfinite(span) else np.where(np.isinf(gaps), np.inf, 0.0)
    spread: Floats = distance / m
    return spread


def directions(m: int, n: int) -> Floats:
    """Weights of ``m`` objectives that sum to one, spread over all trade-offs, ``(n, m)``: corners first, if n ≥ m.

    Two objectives have even steps; more have gaps between sorted coordinates of a Halton sequence, which are uniform.
    """
    if m == 1 or n == 1:
        return np.full((n, m), 1 / m)
    if m == 2:
        first = np.linspace(1, 0, n)
        return np.column_stack([first, 1 - first])
    from scipy.stats import qmc

    points = qmc.Halton(m - 1, scramble=False).random(n + 1)[1:]  # the first point is zero
    ends = np.column_stack([np.zeros(n), np.sort(points, axis=1), np.ones(n)])
    spread: Floats = np.concatenate([np.eye(m), np.diff(ends, axis=1)])[:n]
    return spread


def hypervolume(F: Floats, ref: Sequence[float]) -> float:
    """Exact hypervolume that ``F (n, m)`` dominates up to the reference point ``ref (m,)``.

    Raises:
        InputError: the reference point is not ``m`` finite numbers, or the volume is larger than any float.
    """
    import moocore

    point = np.asarray(ref, float)
    if point.shape != F.shape[1:] or not np.isfinite(point).all():
        raise InputError(f"a reference point needs {F.shape[1]} finite numbers, not {list(ref)}")
    inside = F[(point > F).all(axis=1)]
    if not len(inside):
        return 0.0
    with np.errstate(over="ignore"):
        if not np.isfinite(np.prod(point - inside.min(axis=0))):
            raise InputError(f"no hypervolume: an objective of {inside.min():g} is too far below {list(ref)}")
    return float(moocore.hypervolume(inside, ref=point))
