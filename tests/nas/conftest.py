"""A narrow supernet and a small data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from netdyno.base.objective import Objective
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

if TYPE_CHECKING:
    from netdyno.nas.space import Space
    from netdyno.nas.supernets.supernet import Supernet


HAS_TORCH = find_spec("torch") is not None
NEED_TORCH = [
    "adaptive/test_bundle.py",
    "ensembles/test_bundle.py",
    "ensembles/test_predictions.py",
    "test_accuracy.py",
    "test_backbone.py",
    "test_descend.py",
    "test_runtime.py",
    "test_sgd.py",
    "test_ship.py",
    "test_single_path.py",
    "test_superkernel.py",
    "test_supernets.py",
    "test_trained.py",
]
collect_ignore = [] if HAS_TORCH else NEED_TORCH


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, and no quarrel over the cores."""
    if not HAS_TORCH:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def space() -> OfaMobileNetV3:
    """The published space."""
    return OfaMobileNetV3()


@pytest.fixture(scope="session")
def objectives(space: OfaMobileNetV3) -> list[Objective]:
    """Multiply-accumulates against a made-up error, in which every gene has a say of its own."""
    weights = np.random.default_rng(0).uniform(0, 1, int(space.cardinalities.sum()))
    return [
        Objective("gmacs", lambda X: space.macs(X) / 1e9),
        Objective("error", lambda X: 30 - space.features(X) @ weights),
    ]


@pytest.fixture(scope="session")
def stirred_supernet() -> Callable[[Space], Supernet]:
    """Makes supernets in which nothing is at rest: no weight zero, no norm the identity, no matrix a unit matrix."""
    import torch

    from netdyno.nas.supernets.store import make_supernet

    def make(space: Space) -> Supernet:
        supernet = make_supernet(space, seed=3)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for name, value in supernet.state_dict().items():
                if name.endswith("running_var"):
                    value.uniform_(0.5, 1.5, generator=generator)
                elif value.is_floating_point():
                    scale = 0.05 if value.dim() == 2 else 0.1
                    value.add_(torch.randn(value.shape, generator=generator), alpha=scale)
        return supernet.eval()

    return make


@pytest.fixture(scope="session")
def stirred(narrow: OfaMobileNetV3, stirred_supernet: Callable[[Space], Supernet]) -> Supernet:
    """One of the narrow space."""
    return stirred_supernet(narrow)


@pytest.fixture(scope="session")
def stripes() -> Callable[[int, int], Dataset]:
    """``stripes(n, seed)``: noisy 32×32 images, in ten classes by where a bright stripe runs."""

    def make(n: int, seed: int) -> Dataset:
        generator = np.random.default_rng(seed)
        labels = generator.integers(10, size=n)
        images = generator.normal(0, 0.3, (n, 3, 32, 32)).astype(np.float32)
        for image, label in zip(images, labels, strict=True):
            image[:, 3 * label : 3 * label + 3] += 2
        return Dataset("stripes", images, labels, tuple("0123456789"), (0.5,) * 3, (0.5,) * 3)

    return make
