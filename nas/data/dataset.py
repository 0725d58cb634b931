"""What a data set is to training and to measuring accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Dataset:
    """Labelled images in memory.

    ``images``: ``(n, 3, h, w)`` float32, normalised as ``(value - mean) / std`` from values 0 … 1;
    ``labels``: ``(n,)`` int64, positions in ``classes``.
    """

    name: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_bytes(
        cls,
        name: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        classes: tuple[str, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> Dataset:
        """Images ``(n, 3, h, w)`` of 0 … 255, or ``(n, 1, h, w)`` of greys, and their labels ``(n,)``."""
        shape = (len(images), len(mean), *images.shape[2:])
        values = np.broadcast_to(images, shape).astype(np.float32)
        values /= np.float32(255)
        for channel, (centre, width) in enumerate(zip(mean, std, strict=True)):
            values[:, channel] -= np.float32(centre)
            values[:, channel] /= np.float32(width)
        return cls(name, values, labels.astype(np.int64), classes, mean, std)


def held_back(split: str, n: int, share: float) -> slice:
    """Which of ``n`` published images a split has: of those for training, the last ``share`` are ``val``."""
    first = n - round(share * n)
    return {"train": slice(0, first), "val": slice(first, n), "test": slice(0, n)}[split]
