"""MNIST from the folder where its four published files lie, plain or gzipped: ``mnist:FOLDER``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from netdyno.base.errors import InputError
from netdyno.nas.data.dataset import Dataset, held_back
from netdyno.nas.data.idx import read_idx

CLASSES = tuple("0123456789")
HELD = 1 / 6
"""Share of the published training images that validate: the last 10,000."""
MEAN, STD = 0.1307, 0.3081
"""Of the training images, from 0 to 1."""


@lru_cache(maxsize=3)
def load_mnist(split: str, folder: Path | None = None) -> Dataset:
    """The images of a split, ``(n, 3, 28, 28)`` normalised float32 of three channels alike, and their labels.

    Raises:
        InputError: no folder was named, or a file in it is missing or not what it should be.
    """
    if folder is None:
        raise InputError("mnist needs the folder where its four files lie: mnist:FOLDER")
    part = "t10k" if split == "test" else "train"
    images = read_idx(folder / f"{part}-images-idx3-ubyte", 3)
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte", 1)
    if len(images) != len(labels) or labels.max() >= len(CLASSES):
        raise InputError(f"{folder}: {part} has {len(images)} images and {len(labels)} labels up to {labels.max()}")
    chosen = held_back(split, len(labels), HELD)
    return Dataset.of_bytes("mnist", images[chosen, None], labels[chosen], CLASSES, (MEAN,) * 3, (STD,) * 3)
