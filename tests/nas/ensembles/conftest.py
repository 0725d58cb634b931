"""A pool of subnets whose predictions are made up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from netdyno.nas.ensembles.predictions import Precision, Predictions, sparse
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

Pool = tuple[Predictions, NDArray[np.float64]]


@pytest.fixture(scope="session")
def make_pool(narrow: OfaMobileNetV3) -> Callable[..., Pool]:
    """``make_pool(n, images, classes, k)``: predictions, and all the probabilities ``(n, images, classes)``.

    Subnets of a larger position are surer of the right class; probabilities are coarse, so that many are equal.
    """

    def make(
        n: int = 20, images: int = 60, classes: int = 7, k: int = 7, precision: Precision = "float16", seed: int = 0
    ) -> Pool:
        generator = np.random.default_rng(seed)
        labels = generator.integers(classes, size=images)
        scores = generator.integers(1, 6, (n, images, classes)).astype(float)
        scores[:, np.arange(images), labels] += generator.integers(0, 3, (n, images)) + np.linspace(0, 2, n)[:, None]
        dense = (scores / scores.sum(axis=2, keepdims=True)).astype(precision).astype(float)
        ids, probabilities = (np.stack(part) for part in zip(*(sparse(p, k, precision) for p in dense), strict=True))
        return Predictions(narrow.canonical(narrow.sample(n, seed)), ids, probabilities, labels, classes), dense

    return make
