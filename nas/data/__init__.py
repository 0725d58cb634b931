"""Data sets that supernets are trained on and accuracies are measured with."""

from __future__ import annotations

from pathlib import Path

from netdyno.base.errors import UnknownName
from netdyno.base.registry import Registry
from netdyno.nas.data.dataset import Dataset

SPLITS = ("train", "val", "test")
DATASETS = Registry("data set", "netdyno.datasets")


def load_data(name: str, split: str) -> Dataset:
    """A data set's ``train``, ``val`` or ``test`` split; ``name`` is one's own, or one's own, a colon and its folder.

    Raises:
        UnknownName: no such data set, or no such split.
        InputError: the data set needs a folder, has none, or cannot be read from it.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    kind, _, folder = name.partition(":")
    data: Dataset = DATASETS.load(kind)(split, Path(folder).expanduser() if folder else None)
    return data
