"""Who answers which image, and what error that makes: for one choice of thresholds, or for all of them at once.

Source: Stamoulis 2020, Eq. 4.1–4.4. A margin at or above the threshold ends the cascade there, as the chapter's prose
has it; its formula has it the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas.adaptive.answers import Answers, Floats

CLEAR = 1e-5
"""How far a threshold stays from every margin, so that another runtime's rounding changes no decision."""


def decide(margins: Floats, thresholds: Floats) -> NDArray[np.int64]:
    """Which network answers each image, ``(images,)``, from margins ``(networks, images)``.

    ``thresholds (networks − 1,)``; the last network answers whatever reaches it.
    """
    stops = margins[:-1] >= thresholds[:, None]
    found: NDArray[np.int64] = np.where(stops.any(axis=0), stops.argmax(axis=0), len(margins) - 1)
    return found


@dataclass(frozen=True)
class Swept:
    """Every combination of thresholds: ``error_pct (T₁, …)``, and the share of images that reach each network.

    ``reach (networks, T₁, …)``: the first network's is 1. ``thresholds`` are those of each network but the last,
    ascending.
    """

    thresholds: tuple[Floats, ...]
    error_pct: Floats
    reach: Floats

    def at(self, position: tuple[int, ...]) -> Floats:
        """The thresholds ``(networks − 1,)`` of one combination."""
        return np.array([own[i] for own, i in zip(self.thresholds, position, strict=True)])


def sweep(answers: Sequence[Answers], thresholds: Sequence[Floats]) -> Swept:
    """Errors and reaches of all combinations of ``thresholds``, ascending, one array for each network but the last.

    Images are counted once by the thresholds that their margins reach; sums over all combinations are running totals
    of those counts, so that 10⁴ thresholds on 10⁴ images are milliseconds.

    Raises:
        InputError: not one row of thresholds for each network but the last, or answers to different images.
    """
    images = {len(own.margins) for own in answers}
    if len(thresholds) != len(answers) - 1 or len(images) != 1 or not all(map(len, thresholds)):
        raise InputError("a cascade needs thresholds for each network but the last, and answers to the same images")
    (n,), sizes = images, tuple(map(len, thresholds))
    # A margin stops at all thresholds up to this position.
    ends = [
        np.searchsorted(own, each.margins, side="right") for own, each in zip(thresholds, answers[:-1], strict=True)
    ]
    error, reach, before = np.zeros(sizes), np.ones((len(answers), *sizes)), np.zeros(n)
    for stage, own in enumerate(answers):
        reach[stage] = _spread(_totals(ends[:stage], sizes, np.ones(n)), sizes) / n
        wrong = (~own.right).astype(float)  # what comes this far, the network before does not answer
        error += _spread(_totals(ends[:stage], sizes, wrong - before), sizes)
        before = wrong
    return Swept(tuple(thresholds), 100 * error / n, reach)


def _totals(ends: Sequence[NDArray[np.int64]], sizes: tuple[int, ...], weights: Floats) -> Floats:
    """Weight of the images that pass all these networks, for each combination of their thresholds."""
    if not ends:
        return np.asarray(weights.sum())
    shape = tuple(size + 1 for size in sizes[: len(ends)])
    where = np.ravel_multi_index(tuple(ends), shape)
    total: Floats = np.asarray(np.bincount(where, weights, int(np.prod(shape))), np.float64).reshape(shape)
    for axis in range(len(ends)):
        total = total.cumsum(axis=axis)
    passed: Floats = total[tuple(slice(size) for size in sizes[: len(ends)])]
    return passed


def _spread(totals: Floats, sizes: tuple[int, ...]) -> Floats:
    """The same for all thresholds of the networks that come later."""
    return np.broadcast_to(totals.reshape(totals.shape + (1,) * (len(sizes) - totals.ndim)), sizes)


def clear_thresholds(margins: Floats, n: int) -> Floats:
    """At most ``n`` thresholds ``(≤ n,)``, ascending, each in a gap between margins that makes another decision.

    They lie evenly among the images, and none where margins stand so close that another runtime could tell them
    apart in another way. 0, which lets nothing pass, is always among them.
    """
    ordered = np.concatenate([[0.0], np.unique(np.clip(margins, 0.0, 1.0)), [1.0]])
    wide = np.flatnonzero(np.diff(ordered) > 2 * CLEAR)
    middles = (ordered[wide] + ordered[wide + 1]) / 2
    if len(middles) >= n:
        below = np.searchsorted(np.sort(margins), middles)
        at = np.searchsorted(below, np.linspace(below[0], below[-1], n - 1))
        middles = middles[np.unique(at)]
    return np.concatenate([[0.0], middles])


def as_arrays(answers: Sequence[Answers]) -> tuple[Floats, NDArray[Any]]:
    """Margins and whether they are right, each ``(networks, images)``."""
    return np.stack([own.margins for own in answers]), np.stack([own.right for own in answers])
