"""Who survives a generation: NSGA-II, SMS-EMOA and SPEA2, each a function of the scores of parents and children.

Each returns the positions of ``n`` survivors and their fitness, smaller is better: what tournaments compare.
Feasible architectures come first; others follow by how little they violate (Deb et al. 2002, section VI).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netdyno.nas import pareto
from netdyno.nas.search.problem import Scores

Floats = NDArray[np.float64]
Survivors = tuple[NDArray[np.int64], Floats]
Survival = Callable[[Scores, int], Survivors]


def nsga2(scores: Scores, n: int) -> Survivors:
    """By rank; the front that does not fit whole is thinned by crowding distance.

    Source: Deb et al. 2002, section III; for two objectives distances are recomputed as members leave, after
    Kukkonen & Deb 2006, Improved Pruning of Non-Dominated Solutions Based on Crowding Distance.
    """
    rank = _ranks(scores, n)
    distance, room, front = np.full(len(rank), -np.inf), n, 0
    while room > 0 and front <= rank.max():
        members = np.flatnonzero(rank == front)
        if len(members) > room:
            members = members[_thinned(scores.F[members], room)]
        distance[members] = pareto.crowding(scores.F[members])
        room, front = room - len(members), front + 1
    return _first(rank, -distance, n)


def sms_emoa(scores: Scores, n: int) -> Survivors:
    """By rank; from the front that does not fit whole, who adds least to the hypervolume leaves, one by one.

    A whole generation is judged at once, where the original judges each child. Source: Beume et al. 2007.
    """
    rank = _ranks(scores, n)
    lost = np.zeros(len(rank))
    for front in range(int(rank.max()) + 1):
        members = np.flatnonzero(rank == front)
        before = int((rank < front).sum())
        lost[members] = -np.inf if before >= n else -_departures(scores.F[members], n - before)
    return _first(rank, lost, n)


def spea2(scores: Scores, n: int) -> Survivors:
    """By strength and density; crowded non-dominated ones leave one by one. Source: Zitzler et al. 2001."""
    dominates = _dominance(scores)
    strength = dominates.sum(axis=1)
    raw = dominates.T.astype(float) @ strength
    distance = _distances(scores.F)
    nearest = np.sort(distance, axis=1)[:, min(int(np.sqrt(len(raw))), len(raw) - 1)]
    fitness = raw + 1 / (nearest + 2)
    best = np.flatnonzero(raw == 0)
    if len(best) > n:
        kept = best[_spread(distance[np.ix_(best, best)], n)]
        return kept, fitness[kept]
    order = np.argsort(fitness, kind="stable")[:n]
    return order, fitness[order]


SURVIVALS: dict[str, Survival] = {"nsga2": nsga2, "sms-emoa": sms_emoa, "spea2": spea2}


def _first(rank: NDArray[np.int64], second: Floats, n: int) -> Survivors:
    """The first ``n`` by rank, then by the second criterion; their fitness is their place in that order."""
    order = np.lexsort((second, rank))[:n]
    return order, np.arange(len(order), dtype=float)


def _ranks(scores: Scores, enough: int) -> NDArray[np.int64]:
    """Front of each row; infeasible ones each have a front of their own behind, by violation."""
    bad = np.flatnonzero(scores.violation > 0)
    if not len(bad):
        return pareto.ranks(scores.F, enough)
    rank = np.empty(len(scores), np.int64)
    good = np.flatnonzero(scores.violation <= 0)
    rank[good] = pareto.ranks(scores.F[good], enough)
    _, order = np.unique(scores.violation[bad], return_inverse=True)
    rank[bad] = order + (int(rank[good].max()) + 1 if len(good) else 0)
    return rank


def _dominance(scores: Scores) -> NDArray[np.bool_]:
    """Which row dominates which, ``(n, n)``: by objectives among feasible ones, else by violation."""
    violation = scores.violation
    both = (violation[:, None] <= 0) & (violation <= 0)
    return np.where(both, pareto.dominance(scores.F), violation[:, None] < violation)


def _thinned(F: Floats, n: int) -> NDArray[np.int64]:
    """Positions of ``n`` rows of one front, after those between the nearest neighbours have left.

    Several leave at a time, but of two neighbours only the more crowded one: leaving together would tear a gap.
    """
    if F.shape[1] != 2:
        return np.argsort(-pareto.crowding(F), kind="stable")[:n]
    alive = np.argsort(F[:, 0], kind="stable")
    place = _unit(F) @ [1.0, -1.0]  # along the front, which descends
    while len(alive) > max(n, 2):
        at = place[alive]
        gap = np.concatenate([[np.inf], at[2:] - at[:-2], [np.inf]])
        low = np.flatnonzero((gap[1:-1] <= gap[:-2]) & (gap[1:-1] < gap[2:])) + 1
        alive = np.delete(alive, low[np.argsort(gap[low], kind="stable")[: len(alive) - n]])
    return alive[:n]


def _departures(F: Floats, n: int) -> Floats:
    """How long each row of one front lasts as the least contributor leaves again and again, down to ``n``.

    The last ``n`` share the largest number, to which their contribution adds less than one.
    """
    left = np.zeros(len(F))
    alive = np.arange(len(F))
    scaled = _unit(F)
    steps = max(len(F) - n, 0)
    for step in range(steps):
        worst = int(_contributions(scaled[alive]).argmin())
        left[alive[worst]] = step
        alive = np.delete(alive, worst)
    share = _contributions(scaled[alive])
    left[alive] = steps + 1 - 1 / (1 + share)
    return left


def _contributions(F: Floats) -> Floats:
    """Hypervolume that each row of one front ``(n, m)`` adds; the ends of two objectives are never to be lost."""
    if F.shape[1] == 1:
        return np.full(len(F), np.inf)
    if F.shape[1] > 2:
        import moocore

        added: Floats = np.asarray(moocore.hv_contributions(F, ref=np.full(F.shape[1], 1.1)))
        return added
    order = np.lexsort((F[:, 1], F[:, 0]))
    x, y = F[order, 0], F[order, 1]
    share = np.full(len(F), np.inf)
    share[order[1:-1]] = (x[2:] - x[1:-1]) * (y[:-2] - y[1:-1])
    return share


def _spread(distance: Floats, n: int) -> NDArray[np.int64]:
    """Positions of ``n`` rows, after who is nearest to its neighbours, compared one by one, has left each time."""
    alive = np.arange(len(distance))
    while len(alive) > n:
        near = np.sort(distance[np.ix_(alive, alive)], axis=1)
        alive = np.delete(alive, np.lexsort(near.T[::-1])[0])
    return alive


def _distances(F: Floats) -> Floats:
    scaled = _unit(F)
    squares: Floats = ((scaled[:, None] - scaled) ** 2).sum(axis=2)
    return np.sqrt(squares)


def _unit(F: Floats) -> Floats:
    """Each objective from 0 to 1; all 0 where its extent is larger than any float."""
    with np.errstate(over="ignore", invalid="ignore"):
        extent = np.ptp(F, axis=0)
        scaled: Floats = np.nan_to_num((F - F.min(axis=0)) / np.where(extent > 0, extent, 1.0))
    return scaled
