from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from netdyno.base.errors import UnknownName
from netdyno.nas.data import digits, load_data


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A handful a split; what other tests may have loaded stays out of the way, and this out of theirs."""
    monkeypatch.setattr(digits, "COUNTS", {"train": 30, "val": 20, "test": 20})
    digits.load_digits.cache_clear()
    yield
    digits.load_digits.cache_clear()


def test_splits_come_from_different_originals() -> None:
    from sklearn.datasets import load_digits

    parts = {split: digits._originals(split) for split in digits.SPLITS}
    assert sum(len(labels) for _, labels in parts.values()) == len(load_digits().target) == 1797
    bounds = sorted(digits.SPLITS.values())
    assert [low for low, _ in bounds[1:]] == [high for _, high in bounds[:-1]]
    for split, (images, labels) in parts.items():
        assert images.shape == (len(labels), 8, 8) and images.min() >= 0 and images.max() <= 1
        assert len(set(labels.tolist())) == 10, f"{split} lacks a digit"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_have_the_shape_that_networks_take(split: str) -> None:
    data = load_data("digits", split)
    assert data.images.shape == (len(data), 3, digits.SIZE, digits.SIZE)
    assert (data.images.dtype, data.labels.dtype) == (np.float32, np.int64)
    assert data.labels.min() >= 0 and data.labels.max() <= 9
    values = data.images * data.std[0] + data.mean[0]
    assert values.min() >= -1e-6 and values.max() <= 1 + 1e-6
    assert data.classes == tuple("0123456789")


def test_everything_follows_from_the_seed() -> None:
    first = digits.load_digits("val", seed=1)
    digits.load_digits.cache_clear()
    again, other = digits.load_digits("val", seed=1), digits.load_digits("val", seed=2)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)


def test_no_two_images_are_alike() -> None:
    every = np.concatenate([load_data("digits", split).images for split in digits.SPLITS])
    assert len(np.unique(every.reshape(len(every), -1), axis=0)) == 70


def test_unknown_data_sets_are_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        load_data("digit", "train")
