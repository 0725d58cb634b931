from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.profiler.layers import (
    KINDS,
    Conv,
    Dense,
    GlobalPool,
    Layer,
    Linear,
    MaxPool,
    MBConv,
    Norm,
    Overhead,
    PlainConv,
    PreResidual,
    make_divisible,
    parse_layer,
)
from netdyno.profiler.lower import lower, random_weights, weight_shapes

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

STEM = Conv(8, 6, 3, 16, kernel=3, stride=2, norm=1, act="h_swish")
BLOCK = MBConv(4, 4, 8, 8, mid=24, kernel=5, stride=1, act="relu", se=8, skip=1)
REDUCE = MBConv(5, 5, 8, 12, mid=8, kernel=3, stride=2, act="h_swish", se=0, skip=0)


@given(st.data())
def test_keys_are_read_back(every_layer: st.SearchStrategy[Layer], data: st.DataObject) -> None:
    layer = data.draw(every_layer)
    assert parse_layer(layer.key) == layer
    assert parse_layer(layer.key).key == layer.key


def test_a_key_is_plain_text() -> None:
    assert STEM.key == "conv-h:8-w:6-cin:3-cout:16-kernel:3-stride:2-norm:1-act:h_swish"
    assert Overhead().key == "overhead"
    assert {"overhead", "conv", "mbconv", "pool", "linear"} < set(KINDS)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "conv",
        "convolution-h:1",
        "operator-nth:1-type:a-name:\udcbb",
        "operator-nth:1-type:%ff-name:a",
        "operator-nth:1-type:a-name:%41",
        "operator-nth:-1-type:a-name:b",
        "overhead-h:1",
        "linear-cin:4",
        "linear-cin:4-cout:0",
        "linear-cin:4-cout:-1",
        "linear-cin:4-cout:04",
        "linear-cin:4-cout:4 ",
        "linear-cin:4-cout:4\n",
        "linear-cin:4-cout:٤",
        "linear-cin:4-cout:1e3",
        "linear-cin:4-cout:1000000001",
        f"linear-cin:4-cout:{'9' * 5000}",
        "linear-cout:4-cin:4",
        "linear-cin:4-cin:4-cout:4",
        "linear-cin:4-cout:4-",
        "pool-h:1-w:1",
        STEM.key.replace("norm:1", "norm:2"),
        STEM.key.replace("h_swish", "gelu"),
        BLOCK.key.replace("skip:1", "skip:2"),
        BLOCK.key.replace("se:8", "se:"),
        "fbnet-h:4-w:4-cin:8-cout:8-mid:9-kernel:3-stride:1-groups:2-skip:1",
        "fbnet-h:4-w:4-cin:8-cout:8-mid:8-kernel:3-stride:2-groups:2-skip:1",
        "fbnet-h:4-w:4-cin:8-cout:8-mid:8-kernel:3-stride:1-groups:0-skip:1",
        "preresidual-h:5-w:4-cin:8-cout:8-kernel:3-stride:2",
        "preresidual-h:4-w:4-cin:8-cout:8-kernel:3-stride:1",
        "preresidual-h:4-w:4-cin:8-cout:8-kernel:2-stride:2",
        "avgpool-h:4-w:4-cin:8-kernel:2",
        "preconv-h:4-w:4-cin:8-cout:8-kernel:4-stride:1",
    ],
)
def test_hostile_keys(key: str, refuses: Refuses) -> None:
    refuses(lambda: parse_layer(key))


@given(st.data())
def test_mutated_keys(every_layer: st.SearchStrategy[Layer], survives: Survives, data: st.DataObject) -> None:
    """A key with a piece replaced is another key, read back as it stands, or refused."""
    key = data.draw(every_layer).key
    at = data.draw(st.integers(0, len(key)))
    piece = data.draw(st.text(max_size=5) | st.sampled_from(["-", ":", "0", "9" * 20, "-h:1"]))
    mutated = key[:at] + piece + key[at + data.draw(st.integers(0, 5)) :]

    def read() -> None:
        assert parse_layer(mutated).key == mutated

    survives(read)


@pytest.mark.parametrize(
    ("layer", "macs", "params", "peak_values"),
    [
        (Overhead(), 0, 0, 2),
        # 4×3 outputs; input 8·6·3 and output 192, or the output twice.
        (STEM, 12 * 9 * 3 * 16, 9 * 3 * 16 + 2 * 16, 2 * 192),
        (Conv(8, 6, 3, 16, kernel=3, stride=2, norm=0, act="none"), 12 * 9 * 3 * 16, 9 * 3 * 16, 144 + 192),
        # The skip's 128 are kept while two of the 384 wide stand side by side, and the gates of 24 beside them.
        (
            BLOCK,
            16 * 8 * 24 + 16 * 24 * 25 + 2 * 24 * 8 + 16 * 24 * 8,
            (8 * 24 + 48) + (25 * 24 + 48) + (24 * 8 + 8 + 8 * 24 + 24) + (24 * 8 + 16),
            128 + 2 * 384 + 24,
        ),
        # No expansion: 5×5×8 in, 3×3×8 deep (twice 72 is less), 3×3×12 out.
        (REDUCE, 9 * 8 * 9 + 9 * 8 * 12, (9 * 8 + 16) + (8 * 12 + 24), 200 + 72),
        (GlobalPool(4, 5, 7), 0, 0, 147),
        (Linear(6, 10), 60, 70, 16),
        (Linear(10, 6), 60, 66, 20),
        (PlainConv(4, 4, 3, 5, 2, 1, "relu"), 16 * 4 * 3 * 5, 13 * 5, 2 * 16 * 5),
        (MaxPool(7, 7, 3, 3, 2), 0, 0, 3 * (49 + 16)),
        (Dense(4, 4, 3, 5, "none"), 240, 245, 53),
    ],
)
def test_counts_by_hand(layer: Layer, macs: int, params: int, peak_values: int) -> None:
    assert (layer.macs, layer.params, layer.peak_activation_bytes) == (macs, params, 4 * peak_values)


@given(st.data())
def test_the_lowered_graph_agrees(every_layer: st.SearchStrategy[Layer], data: st.DataObject) -> None:
    """What a layer says of itself is what its graph holds: peak, input, multiply-accumulates, weights."""
    layer = data.draw(every_layer)
    graph = lower(layer)
    assert layer.peak_activation_bytes == graph.peak_activation_bytes()
    assert graph.shapes[graph.inputs[0]] == layer.input_shape
    operators = [node for node in graph.nodes if node.weights]
    sizes = [(graph.weights[node.weights[0]], graph.shapes[node.output]) for node in operators]
    if isinstance(layer, Norm):
        assert (layer.macs, layer.params) == (0, 2 * layer.cin)
        return  # a batch norm alone counts as none
    assert layer.macs == sum(weight.size * int(np.prod(shape[2:])) for weight, shape in sizes)
    weights = sum(weight.size for weight, _ in sizes)
    norms = 1 if isinstance(layer, Linear | PlainConv | Dense) else 2
    unnormed = isinstance(layer, Conv) and not layer.norm
    scales = 0 if unnormed else sum(norms * shape[1] for _, shape in sizes)
    if isinstance(layer, PreResidual):
        scales -= 2 * layer.cout  # the shortcut has no batch norm
    if isinstance(layer, MBConv) and layer.se:
        scales -= layer.mid + layer.se  # squeeze-and-excitation has a bias where others have batch norm's two
    assert layer.params == weights + scales


@given(st.data())
def test_weights_have_their_shapes(every_layer: st.SearchStrategy[Layer], data: st.DataObject) -> None:
    layer = data.draw(every_layer)
    shapes, graph = weight_shapes(layer), lower(layer)
    assert {name: weight.shape for name, weight in graph.weights.items()} == {
        f"{part}.{kind}": shape if kind == "weight" else shape[:1]
        for part, shape in shapes.items()
        for kind in ("weight", "bias")
    }
    assert all(weight.dtype == np.float32 for weight in graph.weights.values())


def test_weight_shapes_by_hand() -> None:
    assert weight_shapes(BLOCK) == {
        "expand": (24, 8, 1, 1),
        "depthwise": (24, 1, 5, 5),
        "reduce": (8, 24, 1, 1),
        "excite": (24, 8, 1, 1),
        "project": (8, 24, 1, 1),
    }
    assert list(weight_shapes(REDUCE)) == ["depthwise", "project"]
    assert weight_shapes(Linear(6, 10)) == {"linear": (10, 6)}
    assert weight_shapes(GlobalPool(1, 1, 1)) == {}


def test_given_weights_are_the_ones_lowered() -> None:
    weights = {name: np.full_like(value, 7) for name, value in random_weights(BLOCK).items()}
    assert all((value == 7).all() for value in lower(BLOCK, weights).weights.values())


def test_random_weights_are_the_same_everywhere() -> None:
    first, again, other = (random_weights(layer) for layer in (STEM, replace(STEM), BLOCK))
    np.testing.assert_array_equal(first["conv.weight"], again["conv.weight"])
    assert first["conv.weight"].std() == pytest.approx(27**-0.5, rel=0.2)
    assert not np.array_equal(first["conv.weight"].ravel()[:8], other["expand.weight"].ravel()[:8])


@pytest.mark.parametrize(
    ("value", "channels"), [(1, 8), (8, 8), (11, 16), (12, 16), (18, 24), (19.2, 24), (28.8, 32), (40, 40)]
)
def test_channels_are_rounded_as_the_mobilenets_do(value: float, channels: int) -> None:
    assert make_divisible(value) == channels


@given(st.floats(1, 1e5))
def test_rounded_channels_stay_close(value: float) -> None:
    channels = make_divisible(value)
    assert channels % 8 == 0
    assert channels >= 0.9 * value
    assert channels - value <= max(8, 0.1 * value + 4)
