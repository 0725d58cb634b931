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
