"""The Python interface, version 1, as the documentation shows it."""

from __future__ import annotations

import numpy as np
import pytest

import netdyno as nd

pytestmark = pytest.mark.alone

SPACE = {"width": 0.25, "resolutions": [48, 64], "classes": 10}


@pytest.fixture(scope="module")
def space():
    return nd.space("ofa-mobilenetv3", **SPACE)


@pytest.fixture(scope="module")
def table(space, tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "table"
    with nd.device("cpu") as device:
        measured = nd.profile(space, device, metrics=["latency", "memory"], budget_s=60, out=folder)
    read = nd.load_table(folder)
    assert read.layers.equals(measured.layers)
    return read


def test_populations(space):
    X = space.sample(100, seed=0)
    assert X.shape == (100, 46)
    assert X.dtype == np.int64
    assert (space.cardinalities > X).all()
    assert np.array_equal(space.encode(space.decode(X)), X)
    assert {len(values) for values in (space.macs(X), space.params(X), space.peak_activation_bytes(X))} == {100}


def test_costs(space, table):
    X = space.sample(50, seed=0)
    for metric in ("latency_ms", "memory_bytes"):
        cost = table.cost(space, metric)
        assert cost(X).shape == (50,)
        interval = cost.interval(X)
        assert (interval[:, 0] <= cost(X)).all()
        assert (cost(X) <= interval[:, 1]).all()
    with pytest.raises(nd.NetdynoError, match="energy_mj"):
        table.cost(space, "energy_mj")


def test_search_from_readings_to_front(space, table):
    X = space.sample(60, seed=1)
    percent = 60 + 30 * space.macs(X) / space.macs(space.largest())[0]
    accuracy = nd.fit_accuracy(space, X, percent, seed=0)
    cost = table.cost(space, "latency_ms")
    front = nd.search(
        space, objectives=[cost.minimize(), accuracy.maximize()], method="ofa2", evaluations=3000, seed=1
    )
    assert front.objectives == ("latency_ms", "error_pct")
    assert front.F.shape == (len(front.X), 2)
    np.testing.assert_allclose(front.F[:, 0], cost(front.X))
    np.testing.assert_allclose(100 - front.F[:, 1], accuracy(front.X))
    assert front.hypervolume(ref=(100.0, 100.0)) > 0


def test_supernet_to_bundle(space, tmp_path):
    pytest.importorskip("torch", reason="a supernet needs torch")
    supernet = nd.supernet(space)
    subnet = supernet.extract(space.sample(1, seed=3)[0])
    bundle = nd.export(subnet, to=["onnx", "tflite"], out=tmp_path / "dist")
    read = nd.load_bundle(tmp_path / "dist")
    assert [a.sha256 for a in read.artifacts()] == [a.sha256 for a in bundle.artifacts()]


def test_unknown_names_say_what_is_near():
    with pytest.raises(nd.NetdynoError, match="did you mean 'ofa-mobilenetv3'"):
        nd.space("ofa-mobilnetv3")
    with pytest.raises(nd.NetdynoError, match="unknown device 'toaster'"):
        nd.device("toaster")
    with pytest.raises(nd.NetdynoError, match="widht"):
        nd.space("ofa-mobilenetv3", widht=1.0)
