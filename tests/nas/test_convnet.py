"""HyperPower's spaces: what their genes mean, and that what is trained is what is exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.devices import open_device
from netdyno.exporters.bundle import load_bundle, verify_bundle
from netdyno.nas.space import Space, make_space
from netdyno.nas.spaces.convnet import KERNELS, POOLS
from netdyno.profiler.layers import Dense, Linear, MaxPool, PlainConv

Refuses = Callable[[Callable[[], object]], str]
CIFAR, MNIST = make_space("cnn-cifar10"), make_space("cnn-mnist")
ONE = {
    "features": [20, 50, 80],
    "kernel": [2, 3, 4],
    "pool": [1, 2, 3],
    "units": [450],
    "learning_rate": [0.01],
    "momentum": [0.9],
    "weight_decay": [0.001],
}


def test_six_and_thirteen_hyperparameters() -> None:
    assert (len(MNIST.cardinalities), len(CIFAR.cardinalities)) == (6, 13)


def test_bounds_are_the_published_ones() -> None:
    names = ("features", "kernel", "pool", "units", "learning_rate", "momentum", "weight_decay")
    least, most = CIFAR.decode(np.stack([CIFAR.smallest(), CIFAR.largest()]))
    assert [least[name][0] for name in names] == [20, 2, 1, 200, 0.001, 0.8, 0.0001]
    assert [most[name][0] for name in names] == [80, 5, 3, 700, 0.1, 0.95, 0.01]


def test_layers_of_one_network() -> None:
    (genes,) = CIFAR.encode([ONE])
    assert CIFAR.layers(genes) == [
        PlainConv(32, 32, 3, 20, 2, 1, "relu"),
        MaxPool(32, 32, 20, 1, 2),
        PlainConv(16, 16, 20, 50, 3, 1, "relu"),
        MaxPool(16, 16, 50, 2, 2),
        PlainConv(8, 8, 50, 80, 4, 1, "relu"),
        MaxPool(8, 8, 80, 3, 2),
        Dense(4, 4, 80, 450, "relu"),
        Linear(450, 10),
    ]
    macs = 32**2 * 4 * 3 * 20 + 16**2 * 9 * 20 * 50 + 8**2 * 16 * 50 * 80 + 16 * 80 * 450 + 4500
    assert CIFAR.macs(genes) == macs


def test_a_recipe_is_no_part_of_the_network() -> None:
    (genes,) = CIFAR.encode([ONE])
    assert CIFAR.recipe(genes) == {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.001}
    other = CIFAR.encode([ONE | {"learning_rate": [0.1]}])[0]
    assert CIFAR.layers(other) == CIFAR.layers(genes)
    np.testing.assert_array_equal(CIFAR.structure(genes), [[20, 50, 80, 2, 3, 4, 1, 2, 3, 450]])
    assert make_space("fbnet").recipe(make_space("fbnet").smallest()) == {}


@given(st.integers(0, 2**32 - 1), st.sampled_from([CIFAR, MNIST]))
def test_architectures_are_read_back(seed: int, space: Space) -> None:
    X = space.sample(3, seed)
    np.testing.assert_array_equal(space.encode(space.decode(X)), X)


def test_sizes_that_all_convolutions_share() -> None:
    space = make_space("cnn-caffenet", width=0.1)
    (genes,) = space.encode([{"features": [19], "kernel": [4], "units": [150]}])
    assert space.layers(genes)[2:] == [
        PlainConv(16, 16, 19, 19, 4, 1, "relu"),
        MaxPool(16, 16, 19, 3, 2),
        PlainConv(8, 8, 19, 19, 4, 1, "relu"),
        MaxPool(8, 8, 19, 3, 2),
        Dense(4, 4, 19, 150, "relu"),
        Linear(150, 10),
    ]
    assert make_space("cnn-caffenet").decode(make_space("cnn-caffenet").largest()[None]) == [
        {"features": [448], "kernel": [5], "units": [4000]}
    ]
    assert space.recipe(genes) == {} and make_space("cnn-caffenet", **space.parameters).parameters == space.parameters


def test_a_coarser_space_has_some_of_the_options() -> None:
    space = make_space("cnn-caffenet", every=3)
    assert [group.values for group in space.groups] == [(32, 128, 224, 320, 416), (2, 5), (500, 2000, 3500)]
    assert make_space("cnn-caffenet", **space.parameters).cardinalities.tolist() == [5, 2, 3]


def test_every_layer_is_used_and_stands_there_once() -> None:
    X = CIFAR.sample(60_000, 0)
    layers = CIFAR.vocabulary()
    assert len(set(layers)) == len(layers)
    assert set(np.unique(CIFAR.layer_ids(X))) == set(range(len(layers)))


@pytest.mark.parametrize("resolution", [7, 257])
def test_resolutions_that_cannot_be(resolution: int, refuses: Refuses) -> None:
    for wrong in ({"width": 0}, {"width": 1e9}, {"every": 0}):
        assert next(iter(wrong)) in refuses(lambda wrong=wrong: make_space("cnn-caffenet", **wrong))
    assert "resolution" in refuses(lambda: make_space("cnn-cifar10", resolution=resolution))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pool", POOLS)
def test_what_is_trained_is_what_is_exported(kernel: int, pool: int, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="trains networks: needs the extra train")
    from netdyno.nas.ship import ship
    from netdyno.nas.supernets.subnet import Subnet

    space = make_space("cnn-cifar10", resolution=19)
    row = ONE | {"kernel": [kernel] * 3, "pool": [pool] * 3}
    network = Subnet(space, space.encode([row])[0]).eval()
    ship(network, tmp_path / "dist", ["onnx", "tflite"])
    with open_device("cpu") as device:
        results = verify_bundle(load_bundle(tmp_path / "dist"), device)
    assert len(results) == 2 and all(result.ok for result in results), results
