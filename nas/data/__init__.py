"""Data sets that supernets are trained on and accuracies are measured with."""

from __future__ import annotations

from netdyno.base.errors import UnknownName
from netdyno.base.registry import Registry
from netdyno.nas.data.dataset import Dataset

SPLITS = ("train", "val", "test")
DATASETS = Registry("data set", "netdyno.datasets")


def load_data(name: str, split: str) -> Dataset:
    """A data set's ``train``, ``val`` or ``test`` split.

    Raises:
        UnknownName: no such data set, or no such split.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    data: Dataset = DATASETS.load(name)(split)
    return data
