"""The Single-Path spaces: the published layout, names and runtime model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netdyno.base.errors import UnknownName
from netdyno.nas.space import format_space, make_space, parse_space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.profiler.formats import import_table
from netdyno.profiler.formats.single_path import CONSTANT_MS, SKIP_MS, searched_layers
from netdyno.profiler.layers import MBConv
from netdyno.profiler.lower import no_weights
from netdyno.profiler.table import LookupTable

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("single-path", "single-path-plus")
TOTALS = {"3x3-e3": 65.69, "3x3-e6": 110.65, "5x5-e3": 76.36, "5x5-e6": 131.46}
"""Milliseconds on a Pixel 1 of networks with every searched layer of one kind."""


@pytest.fixture(scope="module", params=NAMES)
def space(request: pytest.FixtureRequest) -> SinglePath:
    return make(request.param)


def make(name: str, **parameters: object) -> SinglePath:
    made = make_space(name, **parameters)
    assert isinstance(made, SinglePath)
    return made


@pytest.fixture(scope="module")
def pixel1(refdata: Path) -> LookupTable:
    return import_table(refdata / "singlepath_pixel1/pixel1_runtime_model.json", "single-path-json")


def test_options_are_numbered_as_published() -> None:
    space = make("single-path")
    assert [option.name for option in space.options] == list(TOTALS)
    assert space.cardinalities.tolist() == [4, 5, 5, 5] * 5
    assert space.decode(space.smallest())[0]["layer2"] == ["skip"]
    plus = make("single-path-plus")
    assert plus.cardinalities.tolist() == [12, 13, 13, 13] * 5
    assert plus.decode(plus.largest())[0]["layer1"] == ["5x5-e6-se0.5"]


def test_the_layers_are_those_of_the_published_model() -> None:
    """The reader of the runtime model knows them too, on the floor below."""
    space = make("single-path")
    for number, option in enumerate(TOTALS):
        published = [layers[str(number)] for layers in searched_layers()]
        assert space.layers(space.uniform(option))[2:-4] == published


def test_uniform_networks_take_the_published_time(pixel1: LookupTable) -> None:
    space = make("single-path")
    cost = pixel1.cost(space)
    reached = {option: cost(space.uniform(option)[None])[0] for option in TOTALS}
    assert reached == pytest.approx(TOTALS, abs=0.006)


def test_a_network_takes_what_the_model_says_layer_by_layer(pixel1: LookupTable, refdata: Path) -> None:
    space = make("single-path")
    X = space.sample(1000, seed=0)
    content = json.loads((refdata / "singlepath_pixel1/pixel1_runtime_model.json").read_text())
    published = [
        CONSTANT_MS
        + sum(content[str(i)][str(gene)] if gene < 4 else SKIP_MS for i, gene in enumerate(genes, start=1))
        for genes in X.tolist()
    ]
    assert (X == 4).any()
    np.testing.assert_allclose(pixel1.cost(space)(X), published, rtol=1e-12)


def test_the_relaxed_cost_is_the_table_at_one_hot_probabilities(pixel1: LookupTable) -> None:
    space = make("single-path")
    X, cost = space.sample(1000, seed=1), pixel1.cost(space)
    rows = torch.from_numpy(space.features(X))
    np.testing.assert_allclose(cost.torch()(rows).numpy(), cost(X), rtol=1e-6)


def test_what_the_published_model_lacks_is_refused(pixel1: LookupTable, refuses) -> None:  # type: ignore[no-untyped-def]
    assert "single-path-plus" in refuses(lambda: pixel1.cost(make("single-path-plus")))


@given(SEEDS)
@settings(max_examples=20)
def test_counts_are_those_of_the_graph(space: SinglePath, seed: int) -> None:
    X = space.sample(1, seed)
    layers = space.layers(X[0])
    graph = space.graph(X[0], [no_weights(layer) for layer in layers])
    assert space.peak_activation_bytes(X)[0] == graph.peak_activation_bytes()
    assert space.macs(X)[0] == sum(layer.macs for layer in layers)
    assert graph.shapes[graph.outputs[0]] == (1, 1000)
    np.testing.assert_array_equal(space.encode(space.decode(X)), X)


def test_smallest_and_largest_are_that(space: SinglePath) -> None:
    X = space.sample(500, seed=0)
    for count in (space.macs, space.params, space.peak_activation_bytes):
        assert count(space.smallest())[0] <= count(X).min() and count(space.largest())[0] >= count(X).max()


def test_every_layer_is_used(space: SinglePath) -> None:
    ids = space.layer_ids(space.sample(2000, seed=0))
    assert set(np.unique(ids)) == {-1, *range(len(space.vocabulary()))}


def test_excitation_is_a_ratio_of_the_input_channels() -> None:
    space = make("single-path-plus")
    layers = [layer for layer in space.layers(space.uniform("3x3-e6-se0.25"))[2:-4] if isinstance(layer, MBConv)]
    assert [layer.se for layer in layers] == [layer.cin // 4 for layer in layers]


@pytest.mark.parametrize("parameters", [{}, {"width": 0.25, "resolution": 64, "classes": 10}, {"width": 1.4}])
def test_a_space_is_its_text(space: SinglePath, parameters: dict[str, object]) -> None:
    own = make(space.name, **parameters)
    assert parse_space(format_space(own)).parameters == own.parameters
    layers = own.layers(own.largest())
    shapes = [(layer.input_shape[1:3], layer.h, layer.w) for layer in layers if isinstance(layer, MBConv)]
    assert all(h == w for _, h, w in shapes) and layers[0].input_shape == (1, 3, own.side, own.side)


@pytest.mark.parametrize(
    "parameters",
    [{"width": 0}, {"width": float("nan")}, {"width": 17}, {"resolution": 30}, {"resolution": 65}, {"classes": 0}],
)
def test_parameters_that_cannot_be(parameters: dict[str, object], refuses) -> None:  # type: ignore[no-untyped-def]
    refuses(lambda: make("single-path", **parameters))


@pytest.mark.parametrize("option", ["skip", "7x7-e6", ""])
def test_uniform_of_what_not_every_layer_has(option: str) -> None:
    with pytest.raises(UnknownName):
        make("single-path").uniform(option)
