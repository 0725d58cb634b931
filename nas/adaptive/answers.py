"""What a network answers to images, as far as a cascade asks: how sure it is, and whether it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Score margins ``(images,)``, from 0 to 1, and whether each image's likeliest class is ``right (images,)``."""

    margins: Floats
    right: NDArray[np.bool_]

    @property
    def error_pct(self) -> float:
        """Of the network alone."""
        return 100 * float(1 - self.right.mean())


def read_answers(scores: NDArray[Any], labels: NDArray[np.int64]) -> Answers:
    """Answers from logits ``(images, classes)`` and labels ``(images,)``.

    Raises:
        InputError: no image, no class, or not a label for each image.
    """
    if scores.ndim != 2 or not scores.size or labels.shape != scores.shape[:1]:
        raise InputError(f"scores {scores.shape} and labels {labels.shape} are not those of the same images")
    return Answers(score_margins(scores), scores.argmax(axis=1) == labels)


def score_margins(scores: NDArray[Any]) -> Floats:
    """How much likelier the likeliest class is than the next, ``(images,)``, of logits ``(images, classes)``.

    Where there is one class only there is none next: 1. Scores that are not numbers leave a network unsure: 0.
    """
    if scores.shape[1] < 2:
        return np.ones(len(scores))
    exact = scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        powers = np.exp(exact - exact.max(axis=1, keepdims=True))
        second, first = np.partition(powers, -2, axis=1)[:, -2:].T
        margins: Floats = (first - second) / powers.sum(axis=1)
    return np.nan_to_num(margins, nan=0.0)
