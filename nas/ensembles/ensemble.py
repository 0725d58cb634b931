"""Ensembles as arrays: which subnets of a pool are members, and how long they take together.

A population of ensembles is ``members (n, seats) int64``, positions in the pool, −1 where a seat is empty. Members
have no order: equal ensembles are equal rows once they are canonical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError, UnknownName
from netdyno.base.objective import Optimisable

Ensembles = NDArray[np.int64]
"""``(n, seats)`` positions in a pool, −1 where a seat is empty."""
Together = Literal["sum", "max"]
TOGETHER: tuple[Together, ...] = ("sum", "max")


@dataclass(frozen=True)
class Sizes:
    """How many members an ensemble may have.

    Raises:
        InputError: fewer than one, or fewer at most than at least.
    """

    least: int = 2
    most: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise InputError(f"an ensemble cannot have {self.least} to {self.most} members")


SIZES = Sizes()
"""Ensembles of OFA³ have two to eight members (Ito et al. 2024)."""


def check(members: Any, pool: int) -> Ensembles:
    """``members`` as ensembles of a pool of that many subnets; a single one becomes a population of one.

    Raises:
        InputError: not whole numbers, a seat that is no position in the pool, or an ensemble without a member.
    """
    try:
        ensembles = np.atleast_2d(np.asarray(members))
    except (ValueError, OverflowError) as error:
        raise InputError(f"not ensembles: {error}") from error
    if ensembles.ndim != 2 or ensembles.dtype.kind not in "iu":
        raise InputError(f"an ensemble is a row of positions in a pool, not {ensembles.dtype} of {ensembles.shape}")
    wrong = (ensembles < -1) | (ensembles >= pool)
    if wrong.any():
        row, seat = np.argwhere(wrong)[0].tolist()
        raise InputError(f"ensemble {row} has member {ensembles[row, seat]}; the pool has 0 to {pool - 1}")
    if (ensembles < 0).all(axis=1).any():
        raise InputError("an ensemble has at least one member")
    return ensembles.astype(np.int64, copy=False)


def canonical(members: Ensembles) -> Ensembles:
    """The same ensembles with distinct members in ascending order, empty seats behind."""
    empty = np.iinfo(np.int64).max
    ordered = np.sort(np.where(members < 0, empty, members), axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = empty
    ordered.sort(axis=1)
    return np.where(ordered == empty, -1, ordered)


def count(members: Ensembles) -> NDArray[np.int64]:
    """Members of each ensemble, ``(n,)``."""
    counts: NDArray[np.int64] = (members >= 0).sum(axis=1)
    return counts


def draw(members: Ensembles, sizes: NDArray[np.int64], seats: int, generator: np.random.Generator) -> Ensembles:
    """Random ``sizes (n,)`` of the members of each ensemble, ``(n, seats)``, canonical; all where it has fewer."""
    order = np.argsort(np.where(members < 0, np.inf, generator.random(members.shape)), axis=1)
    chosen = np.take_along_axis(members, order, axis=1)[:, :seats]
    chosen = np.pad(chosen, ((0, 0), (0, seats - chosen.shape[1])), constant_values=-1)
    return canonical(np.where(np.arange(seats) < sizes[:, None], chosen, -1))


def sample(n: int, pool: int, generator: np.random.Generator, sizes: Sizes = SIZES) -> Ensembles:
    """``n`` random ensembles ``(n, most)``: a size, then members, each uniform.

    Raises:
        InputError: the pool is smaller than the smallest ensemble.
    """
    if pool < sizes.least:
        raise InputError(f"a pool of {pool} subnets is too small for ensembles of {sizes.least}")
    wanted = generator.integers(sizes.least, min(sizes.most, pool) + 1, size=n)
    return draw(np.tile(np.arange(pool), (n, 1)), wanted, sizes.most, generator)


class EnsembleLatency(Optimisable):
    """Latency in milliseconds of ensembles ``(n, seats)`` of subnets that take ``latency_ms (pool,)`` each.

    ``sum``: one processor runs the members one after another. ``max``: each has a processor of its own, all run at
    once and the slowest decides. Voting itself takes no time.

    Raises:
        UnknownName: neither ``sum`` nor ``max``.
        InputError: latencies that are not positive numbers.
    """

    name = "latency_ms"

    def __init__(self, latency_ms: NDArray[np.float64], together: Together) -> None:
        if together not in TOGETHER:
            raise UnknownName("way to run members together", together, TOGETHER)
        if latency_ms.ndim != 1 or not (np.isfinite(latency_ms) & (latency_ms > 0)).all():
            raise InputError("the latency of each subnet of a pool must be a positive number of milliseconds")
        self.together = together
        self._latency_ms = latency_ms

    def __call__(self, X: Ensembles) -> NDArray[np.float64]:
        """``X (n, seats)`` to milliseconds ``(n,)``."""
        ensembles = check(X, len(self._latency_ms))
        each = np.where(ensembles < 0, 0.0, self._latency_ms[ensembles])
        total: NDArray[np.float64] = each.sum(axis=1) if self.together == "sum" else each.max(axis=1)
        return total
