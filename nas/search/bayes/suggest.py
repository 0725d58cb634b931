"""The most promising architecture of a space: the best of many that are drawn, then from neighbour to neighbour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netdyno.nas.search.bayes import Floats
from netdyno.nas.search.operators import spread
from netdyno.nas.search.problem import neighbours
from netdyno.nas.space import Population, Space

CENTRE = 0.2
"""Share of points that is about the middle."""
CLIMB = 30
"""Steps from neighbour to neighbour at most."""

Promise = Callable[[Population], Floats]
"""Architectures ``(n, genes)`` to what they promise ``(n,)``, the more the better."""


def suggest(
    space: Space, promise: Promise, known: Population, about: Population, n: int, generator: np.random.Generator
) -> Population:
    """One architecture ``(1, genes)`` that is none of ``known (k, genes)``.

    ``n`` are drawn, half of them of all sizes, beside the neighbours of those ``about (m, genes)``. A space of which
    all that was drawn is known gives one of those.
    """
    drawn = [space.sample(n - n // 2, generator), spread(space, n // 2, generator)]
    near = neighbours(space, about).reshape(-1, about.shape[1])
    old = {genes.tobytes() for genes in known}
    pool = _new(space.canonical(np.concatenate([*drawn, near])), old)
    if not len(pool):
        return space.canonical(drawn[0][:1])
    worth = promise(pool)
    best, most = pool[[worth.argmax()]], float(worth.max())
    for _ in range(CLIMB):
        near = _new(space.canonical(neighbours(space, best)[0]), old)
        if not len(near) or (worth := promise(near)).max() <= most:
            break
        best, most = near[[worth.argmax()]], float(worth.max())
    return best


def apart_about_the_middle(points: Floats, n: int) -> NDArray[np.int64]:
    """Which ``n`` of ``points (k, columns)`` to begin with, nearest to the middle of the cube first.

    Of the fifth that lies nearest to it, each is the farthest from all before it.
    Source: Johnson, Moore & Ylvisaker 1990 (maximin designs).
    """
    off = ((points - 0.5) ** 2).sum(axis=1)
    central = np.argsort(off, kind="stable")[: max(n, round(CENTRE * len(points)))]
    chosen = central[:1]
    while len(chosen) < n:
        between = points[central, None] - points[chosen]
        chosen = np.append(chosen, central[(between**2).sum(axis=2).min(axis=1).argmax()])
    found: NDArray[np.int64] = chosen[:n]
    return found


def _new(X: Population, old: set[bytes]) -> Population:
    """Each that is not old, once."""
    unique = np.unique(X, axis=0)
    return unique[[genes.tobytes() not in old for genes in unique]]
