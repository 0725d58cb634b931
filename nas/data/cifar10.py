"""CIFAR-10 from the folder of its binary version, which is bytes and nothing else: ``cifar10:FOLDER``.

A record is a label and 32×32 values of red, of green and of blue.
Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and its data's description.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.files import read_bytes
from netdyno.nas.data.dataset import Dataset, held_back

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
LARGEST_BYTES = 64 * 2**20
"""Bytes of one file; the published ones have half."""
HELD = 1 / 5
"""Share of the published training images that validate: the last batch."""
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of the training images, from 0 to 1, by channel."""


@lru_cache(maxsize=3)
def load_cifar10(split: str, folder: Path | None = None) -> Dataset:
    """The images of a split, ``(n, 3, 32, 32)`` normalised float32, and their labels.

    Raises:
        InputError: no folder was named, or a file in it is missing or not what it should be.
    """
    if folder is None:
        raise InputError("cifar10 needs the folder of its binary version: cifar10:FOLDER")
    files = FILES["test" if split == "test" else "train"]
    records = np.concatenate([_records(folder / name) for name in files])
    records = records[held_back(split, len(records), HELD)]
    images = records[:, 1:].reshape(-1, *SHAPE)
    return Dataset.of_bytes("cifar10", images, records[:, 0], CLASSES, MEAN, STD)


def _records(path: Path) -> NDArray[np.uint8]:
    """``(n, 3073)``, labels first."""
    content = read_bytes(path, LARGEST_BYTES)
    if not content or len(content) % RECORD:
        raise InputError(
            f"{path}: {len(content)} bytes are not images of {RECORD} each, as CIFAR-10's binary version has"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise InputError(f"{path}: label {records[:, 0].max()} is not one of {len(CLASSES)}")
    return records
