from __future__ import annotations

import ast
import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import InputError, UnknownName
from netdyno.nas.space import format_space, make_space, parse_genes, parse_space
from netdyno.nas.spaces.ofa_mobilenetv3 import DEPTHS, UNIT_BLOCKS, UNITS, OfaMobileNetV3
from netdyno.profiler.layers import Conv, GlobalPool, Linear, MBConv
from netdyno.profiler.table import format_genes

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

SEEDS = st.integers(0, 2**32 - 1)


# Genes ------------------------------------------------------------------------------------------------------------


def test_the_published_genes(space: OfaMobileNetV3) -> None:
    assert space.cardinalities.tolist() == [3] * 45 + [25]
    assert space.columns == {"ks": slice(0, 20), "e": slice(20, 40), "d": slice(40, 45), "r": slice(45, 46)}


@given(SEEDS)
def test_decoded_architectures_are_encoded_back(space: OfaMobileNetV3, seed: int) -> None:
    X = space.sample(5, seed)
    assert X.dtype == np.int64 and ((X >= 0) & (space.cardinalities > X)).all()
    np.testing.assert_array_equal(space.encode(space.decode(X)), X)
    np.testing.assert_array_equal(space.sample(5, seed), X)


def test_decoded_values_are_the_published_ones(space: OfaMobileNetV3) -> None:
    genes = space.uniform(kernel=7, expansion=4, depth=3, resolution=176)
    assert space.decode(genes) == [{"ks": [7] * 20, "e": [4] * 20, "d": [3] * 5, "r": [176]}]
    assert space.resolution(genes) == 176
    assert space.decode(space.smallest()) == [{"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5, "r": [128]}]
    assert space.decode(space.largest()) == [{"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "r": [224]}]


@given(SEEDS)
def test_active_genes_by_brute_force(space: OfaMobileNetV3, seed: int) -> None:
    X = space.sample(3, seed)
    for genes, active in zip(X, space.active(X), strict=True):
        for unit in range(UNITS):
            for block in range(UNIT_BLOCKS):
                present = block < DEPTHS[genes[40 + unit]]
                assert active[unit * 4 + block] == active[20 + unit * 4 + block] == present
        assert active[40:].all()


@given(SEEDS, SEEDS)
def test_equal_canonical_rows_are_equal_networks(space: OfaMobileNetV3, seed: int, other: int) -> None:
    X, Y = space.sample(4, seed), space.sample(4, other)
    same = np.where(space.active(X), X, Y)
    np.testing.assert_array_equal(space.canonical(same), space.canonical(X))
    np.testing.assert_array_equal(space.canonical(space.canonical(X)), space.canonical(X))
    np.testing.assert_array_equal(space.layer_ids(space.canonical(X)), space.layer_ids(X))
    np.testing.assert_array_equal(space.features(same), space.features(X))
    assert len(np.unique(space.features(X), axis=0)) == len(np.unique(space.canonical(X), axis=0))


@given(SEEDS)
def test_features_are_one_hot_where_active(space: OfaMobileNetV3, seed: int) -> None:
    X = space.sample(3, seed)
    features, active = space.features(X), space.active(X)
    assert features.shape == (3, space.cardinalities.sum())
    for row, genes in enumerate(X):
        blocks = np.split(features[row], np.cumsum(space.cardinalities)[:-1])
        for gene, block in enumerate(blocks):
            expected = np.eye(space.cardinalities[gene])[genes[gene]] * active[row, gene]
            np.testing.assert_array_equal(block, expected)


@pytest.mark.parametrize(
    "X",
    [
        [0] * 45,
        [0] * 47,
        [[0] * 46, [0] * 45],
        [[[0] * 46]],
        [0.0] * 46,
        [True] * 46,
        ["0"] * 46,
        [0] * 45 + [25],
        [-1] + [0] * 45,
        [2**70] + [0] * 45,
        [],
        None,
        "genes",
    ],
    ids=str,
)
def test_what_is_no_population(X: Any, space: OfaMobileNetV3, refuses: Refuses) -> None:
    for use in (space.check, space.macs, space.decode, space.canonical, space.features, space.layers):
        refuses(lambda use=use: use(X))


def test_a_population_of_none(space: OfaMobileNetV3) -> None:
    none = np.empty((0, 46), np.int64)
    assert space.macs(none).shape == space.peak_activation_bytes(none).shape == (0,)
    assert space.encode([]).shape == (0, 46)
    assert space.decode(none) == []


@pytest.mark.parametrize(
    "changes",
    [{"ks": [3] * 19}, {"ks": [4] * 20}, {"r": 128}, {"r": [130]}, {"d": "22222"}, {"e": [[3]] * 20}, {"e": None}],
    ids=str,
)
def test_what_cannot_be_encoded(changes: dict[str, Any], space: OfaMobileNetV3, refuses: Refuses) -> None:
    good: dict[str, Any] = space.decode(space.smallest())[0]
    assert repr(next(iter(changes))) in refuses(lambda: space.encode([good, good | changes]))
    refuses(lambda: space.encode([{}]))
    refuses(lambda: space.encode([3]))  # type: ignore[list-item]


def test_arrays_are_encoded_like_lists(space: OfaMobileNetV3) -> None:
    arrays = [{name: np.array(values) for name, values in space.decode(space.largest())[0].items()}]
    np.testing.assert_array_equal(space.encode(arrays)[0], space.largest())  # type: ignore[arg-type]


@given(SEEDS)
def test_genes_as_text_are_read_back(space: OfaMobileNetV3, seed: int) -> None:
    genes = space.sample(1, seed)[0]
    np.testing.assert_array_equal(parse_genes(space, format_genes(genes)), genes)


@pytest.mark.parametrize("text", ["", "0", "a " * 46, "9" * 5000, f"{2**70} " * 46, "3 " * 46])
def test_what_is_no_text_of_genes(text: str, space: OfaMobileNetV3, refuses: Refuses) -> None:
    refuses(lambda: parse_genes(space, text))


# Layers -----------------------------------------------------------------------------------------------------------


def test_the_smallest_network_layer_by_layer(space: OfaMobileNetV3) -> None:
    layers = space.layers(space.smallest())
    assert layers[0] == Conv(128, 128, 3, 16, kernel=3, stride=2, norm=1, act="h_swish")
    assert layers[1] == MBConv(64, 64, 16, 16, mid=16, kernel=3, stride=1, act="relu", se=0, skip=1)
    assert layers[2] == MBConv(64, 64, 16, 24, mid=48, kernel=3, stride=2, act="relu", se=0, skip=0)
    assert layers[4] == MBConv(32, 32, 24, 40, mid=72, kernel=3, stride=2, act="relu", se=24, skip=0)
    assert layers[9] == MBConv(8, 8, 112, 112, mid=336, kernel=3, stride=1, act="h_swish", se=88, skip=1)
    assert layers[-4:] == [
        Conv(4, 4, 160, 960, kernel=1, stride=1, norm=1, act="h_swish"),
        GlobalPool(4, 4, 960),
        Conv(1, 1, 960, 1280, kernel=1, stride=1, norm=0, act="h_swish"),
        Linear(1280, 1000),
    ]
    assert len(layers) == 2 + 5 * 2 + 4


@given(SEEDS)
def test_layers_fit_together(space: OfaMobileNetV3, seed: int) -> None:
    genes = space.sample(1, seed)[0]
    layers, vocabulary = space.layers(genes), space.vocabulary()
    assert layers == [vocabulary[i] for i in space.layer_ids(genes)[0] if i >= 0]
    graph = space.graph(genes, _weightless(space, genes))
    assert graph.shapes[graph.inputs[0]] == (1, 3, space.resolution(genes), space.resolution(genes))
    assert graph.shapes[graph.outputs[0]] == (1, 1000)
    for before, after in pairwise(layers):
        made = getattr(before, "cout", None) or before.input_shape[1]
        assert after.input_shape[1] == made
    blocks = [layer for layer in layers if isinstance(layer, MBConv)]
    assert len(blocks) == 1 + sum(space.decode(genes)[0]["d"])
    assert all(block.skip == (block.stride == 1 and block.cin == block.cout) for block in blocks)


def test_the_vocabulary_names_every_layer_once(space: OfaMobileNetV3, narrow: OfaMobileNetV3) -> None:
    for each in (space, narrow):
        vocabulary = each.vocabulary()
        assert len(set(vocabulary)) == len(vocabulary) == len({layer.key for layer in vocabulary})
    used = narrow.layer_ids(narrow.sample(3000, seed=0))
    assert set(np.unique(used)) == {-1, *range(len(narrow.vocabulary()))}


def test_populations_are_counted_as_their_layers(space: OfaMobileNetV3) -> None:
    X = space.sample(20, seed=5)
    for genes, macs, params in zip(X, space.macs(X), space.params(X), strict=True):
        layers = space.layers(genes)
        assert (macs, params) == (sum(x.macs for x in layers), sum(x.params for x in layers))


def test_the_peak_is_that_of_the_whole_graph(space: OfaMobileNetV3) -> None:
    """The array look-up against liveness over the joined graph of the whole network."""
    X = space.sample(200, seed=6)
    weightless = [space.graph(genes, _weightless(space, genes)).peak_activation_bytes() for genes in X]
    np.testing.assert_array_equal(space.peak_activation_bytes(X), weightless)


def _weightless(space: OfaMobileNetV3, genes: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Weights of the right shapes that take no memory."""
    from netdyno.profiler.lower import weight_shapes

    zero = np.zeros((), np.float32)
    return [
        {
            f"{part}.{kind}": np.broadcast_to(zero, shape if kind == "weight" else shape[:1])
            for part, shape in weight_shapes(layer).items()
            for kind in ("weight", "bias")
        }
        for layer in space.layers(genes)
    ]


def test_published_counts(space: OfaMobileNetV3, refdata: Path) -> None:
    """Multiply-accumulates and parameters of every sub-network that DyNAS-T measured, to the last digit."""
    architectures, macs, params = [], [], []
    for file in sorted((refdata / "dynast_measured").glob("mbnv3w10_*.csv")):
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                architectures.append(ast.literal_eval(row["Sub-network"]))
                macs.append(int(row["MACs"]))
                params.append(int(row["Model Parameters"]))
    X = space.encode(architectures)
    assert len(X) == 2373
    np.testing.assert_array_equal(space.macs(X), macs)
    np.testing.assert_array_equal(space.params(X), params)


# Names and parameters ---------------------------------------------------------------------------------------------


def test_a_space_is_its_text(narrow: OfaMobileNetV3) -> None:
    text = format_space(narrow)
    assert text == repr(narrow) == "ofa-mobilenetv3:width=0.25,resolutions=48/56/64,classes=10"
    again = parse_space(text)
    assert again.parameters == narrow.parameters
    assert parse_space("ofa-mobilenetv3").parameters == OfaMobileNetV3().parameters
    assert parse_space("ofa-mobilenetv3: resolutions=64").parameters["resolutions"] == [64]


@given(
    width=st.floats(0.01, 16),
    sizes=st.sets(st.integers(8, 256), min_size=1, max_size=3),
    classes=st.integers(1, 100_000),
)
def test_any_space_is_its_text(width: float, sizes: set[int], classes: int) -> None:
    space = OfaMobileNetV3(width, sorted(4 * size for size in sizes), classes)
    assert parse_space(format_space(space)).parameters == space.parameters
    assert make_space(space.name, **space.parameters).parameters == space.parameters


@pytest.mark.parametrize(
    "settings",
    [
        "width",
        "width=",
        "width=x",
        "width=0",
        "width=-1",
        "width=nan",
        "width=inf",
        "width=17",
        f"width={'9' * 5000}",
        "width=1/2=3",
        "classes=0",
        "classes=inf",
        "classes=nan",
        "classes=1e12",
        "resolutions=",
        "resolutions=50",
        "resolutions=28",
        "resolutions=1028",
        "resolutions=64/48",
        "resolutions=64/64",
        "resolutions=inf",
        "depth=3",
        "name=3",
        "self=3",
        "=3",
        "👍=3",
    ],
)
def test_parameters_that_cannot_be(settings: str, refuses: Refuses) -> None:
    refuses(lambda: parse_space(f"ofa-mobilenetv3:{settings}"))


@pytest.mark.parametrize(
    "parameters",
    [{"width": "x"}, {"width": None}, {"resolutions": 64.5}, {"resolutions": ["a"]}, {"resolutions": []}],
)
def test_arguments_that_cannot_be(parameters: dict[str, Any], refuses: Refuses) -> None:
    refuses(lambda: make_space("ofa-mobilenetv3", **parameters))


def test_unknown_spaces_are_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'ofa-mobilenetv3'"):
        parse_space("ofa-mobilenet")


@given(st.text(max_size=30))
def test_any_text_is_a_space_or_refused(survives: Survives, text: str) -> None:
    survives(lambda: parse_space(text))
    survives(lambda: parse_space(f"ofa-mobilenetv3:{text}"))


def test_values_outside_the_space(space: OfaMobileNetV3) -> None:
    with pytest.raises(InputError, match="'ks'"):
        space.uniform(kernel=4, expansion=3, depth=2, resolution=128)


def test_one_resolution_needs_no_list() -> None:
    assert make_space("ofa-mobilenetv3", resolutions=64).parameters["resolutions"] == [64]


def test_structural_hyperparameters_are_values_of_active_genes(narrow: OfaMobileNetV3) -> None:
    X = narrow.canonical(narrow.sample(30, seed=0))
    z = narrow.structure(X)
    assert z.shape == (30, 46)
    for row, values, active in zip(z, narrow.decode(X), narrow.active(X), strict=True):
        expected = [value for name in ("ks", "e", "d", "r") for value in values[name]]
        np.testing.assert_array_equal(row, np.where(active, expected, 0))
    named = make_space("nasbench201")
    assert named.structure(named.sample(4, seed=0)).shape == (4, 30), "names are one-hot"


def test_a_space_between_its_sizes(narrow: OfaMobileNetV3) -> None:
    between = narrow.between()
    assert between is not None and between.resolutions == (52, 60)
    assert make_space("ofa-mobilenetv3", resolutions=[48, 52]).between() is None
    assert make_space("fbnet").between() is None
