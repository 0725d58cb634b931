"""Hard and soft voting of many ensembles at once, over the sparse predictions of a pool.

*Hard*: each member has one vote, for its likeliest class; of classes with equally many votes the one to which all
members together give the most probability wins, then the lowest. *Soft*: the class of the highest mean probability
wins, then the lowest. Classes that a member does not keep count as improbable, 0.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import UnknownName
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.ensembles.ensemble import Ensembles, check
from netdyno.nas.ensembles.predictions import Predictions

Voting = Literal["hard", "soft"]
VOTINGS: tuple[Voting, ...] = ("hard", "soft")
CHUNK = 2**22
"""Most ballots, or most sums, that are in memory at a time."""


class VotedAccuracy(Accuracy):
    """Top-1 accuracy in percent of ensembles ``(n, seats)`` of a pool, −1 where a seat is empty.

    Raises:
        UnknownName: no such voting.
    """

    def __init__(self, predictions: Predictions, voting: Voting) -> None:
        if voting not in VOTINGS:
            raise UnknownName("voting", voting, VOTINGS)
        self.voting = voting
        self._pool = len(predictions)
        first = predictions.ids[:, :, 0]
        # Where all subnets agree every ensemble agrees with them, whichever the voting.
        contested = np.flatnonzero((first != first[0]).any(axis=0))
        settled = (first[0] == predictions.labels).sum() - (first[0] == predictions.labels)[contested].sum()
        self._images = len(predictions.labels)
        self._settled = int(settled)
        self._ballots = _Ballots(predictions, contested)

    def __call__(self, X: Ensembles) -> NDArray[np.float64]:
        """``X (n, seats)`` to percent ``(n,)``.

        Raises:
            InputError: a seat that is no position in the pool, or an ensemble without a member.
        """
        ensembles = check(X, self._pool)
        right = np.empty(len(ensembles), np.int64)
        for rows in self._ballots.chunks(ensembles):
            right[rows] = self._ballots.right(ensembles[rows], self.voting)
        return (right + self._settled) / self._images * 100


class _Ballots:
    """The predictions for some images, their classes numbered anew image by image.

    All subnets of a pool together name few classes of an image, so that sums are over those and no others.
    """

    def __init__(self, predictions: Predictions, images: NDArray[np.int64]) -> None:
        ids = predictions.ids[:, images].astype(np.int64)
        row = np.arange(len(images))[:, None]
        named, numbers = np.unique(row * predictions.classes + ids, return_inverse=True)
        owner = named // predictions.classes
        begin = np.searchsorted(owner, np.arange(len(images)))
        self._width = int(np.bincount(owner, minlength=1).max())
        self._images = len(images)
        # One number for image and class; within an image they ascend as the classes do.
        self._cells = numbers.reshape(ids.shape) - begin[row] + row * self._width
        self._weights = predictions.probabilities[:, images].astype(np.float32)
        at = np.searchsorted(named, row[:, 0] * predictions.classes + predictions.labels[images])
        known = np.isin(row[:, 0] * predictions.classes + predictions.labels[images], named)
        self._labels = np.where(known, at - begin, -1)

    def chunks(self, ensembles: Ensembles) -> list[slice]:
        """Parts of a population that fit into memory."""
        each = max(self._cells[0].size * ensembles.shape[1], self._images * self._width, 1)
        step = max(CHUNK // each, 1)
        return [slice(i, i + step) for i in range(0, len(ensembles), step)]

    def right(self, ensembles: Ensembles, voting: Voting) -> NDArray[np.int64]:
        """How many of these images each ensemble classifies rightly, ``(n,)``."""
        sums = self._sums(ensembles, self._cells, self._weights)
        if voting == "hard":
            votes = self._sums(ensembles, self._cells[..., 0], None)
            sums = np.where(votes == votes.max(axis=2, keepdims=True, initial=0), sums, -1)
        if not sums.size:
            return np.zeros(len(ensembles), np.int64)
        right: NDArray[np.int64] = (sums.argmax(axis=2) == self._labels).sum(
            axis=1
        )  # of equals the first, the lowest
        return right

    def _sums(self, ensembles: Ensembles, cells: NDArray[np.int64], weights: NDArray[Any] | None) -> NDArray[Any]:
        """Weights, or else ballots, by ensemble, image and class: ``(n, images, width)``."""
        row, seat = np.nonzero(ensembles >= 0)
        member = ensembles[row, seat]
        size = self._images * self._width
        offset = (row * size).reshape(-1, *[1] * (cells.ndim - 1))
        flat = (cells[member] + offset).ravel()
        given = None if weights is None else weights[member].ravel()
        return np.bincount(flat, given, len(ensembles) * size).reshape(len(ensembles), self._images, self._width)
