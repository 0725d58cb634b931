"""The spaces of published benchmarks: counts that their papers give, graphs that compute what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdyno.nas.space import Space, format_space, make_space, parse_space
from netdyno.profiler.lower import no_weights

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("nasbench201", "fbnet")


@pytest.fixture(scope="module", params=NAMES)
def published(request: pytest.FixtureRequest) -> Space:
    return make_space(request.param)


def test_counts_of_nasbench201_are_the_published_ones() -> None:
    """The cell of six 3×3 convolutions: 220.12 million and 1.531546 million in the benchmark's own records."""
    space = make_space("nasbench201")
    X = space.encode([{name: ["nor_conv_3x3"] for name in ("e01", "e02", "e12", "e03", "e13", "e23")}])
    assert space.macs(X).tolist() == [220_119_680]
    assert space.params(X).tolist() == [1_531_546]


def test_fbnet_has_the_published_layout() -> None:
    space = make_space("fbnet")
    assert space.cardinalities.tolist() == [9] * 22
    layers = space.layers(space.encode([{"op": ["skip"] * 22}])[0])
    assert [layer.kind for layer in layers] == ["conv"] * 8 + ["pool", "linear"]  # six skips change the shape
    assert layers[-3].input_shape == (1, 352, 7, 7)


def test_every_layer_is_used(published: Space) -> None:
    ids = published.layer_ids(published.sample(500, seed=0))
    assert set(np.unique(ids)) == {-1, *range(len(published.vocabulary()))}


@given(SEEDS)
@settings(max_examples=20)
def test_counts_are_those_of_the_graph(published: Space, seed: int) -> None:
    X = published.sample(1, seed)
    layers = published.layers(X[0])
    graph = published.graph(X[0], [no_weights(layer) for layer in layers])
    assert published.peak_activation_bytes(X)[0] == graph.peak_activation_bytes()
    assert published.macs(X)[0] == sum(layer.macs for layer in layers)
    assert graph.shapes[graph.outputs[0]] == (1, published.classes)
    np.testing.assert_array_equal(published.encode(published.decode(X)), X)


@given(SEEDS)
@settings(max_examples=20)
def test_options_are_counted(published: Space, seed: int) -> None:
    X = published.sample(3, seed)
    counts = published.option_counts(X)
    options = int(published.cardinalities[0])
    np.testing.assert_array_equal(counts, [np.bincount(genes, minlength=options) for genes in X])


def test_options_of_several_groups(narrow: Space) -> None:
    """Kernels and expansions differ in their values, so they are told apart; inactive genes count for none."""
    (counts,) = narrow.option_counts(narrow.smallest()[None])
    assert counts.tolist() == [10, 0, 0, 10, 0, 0, 5, 0, 0, 1, 0, 0]


def test_a_space_is_its_text(published: Space) -> None:
    assert parse_space(format_space(published)).parameters == published.parameters


def test_classes_that_cannot_be(published: Space, refuses) -> None:  # type: ignore[no-untyped-def]
    refuses(lambda: make_space(published.name, classes=0))


def test_a_cell_computes_the_sum_of_its_edges() -> None:
    """The graph of a cell of averages and skips, against the cell by hand."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    from netdyno.exporters import write
    from netdyno.exporters.graph import GraphBuilder
    from netdyno.nas.spaces.nasbench201 import EDGES, OPERATIONS, _cell
    from netdyno.profiler.layers import Add, AvgPool, Zero
    from netdyno.profiler.lower import lower

    chosen = [OPERATIONS.index(name) for name in ("avg_pool_3x3", "skip_connect", "none", "avg_pool_3x3")]
    chosen += [OPERATIONS.index("skip_connect"), OPERATIONS.index("avg_pool_3x3")]
    shape = (6, 6, 4)
    pool, zero, add = AvgPool(*shape, 3), Zero(*shape), Add(*shape)
    layers = iter([pool, zero, add, pool, add, pool, add])
    builder, count = GraphBuilder("cell"), iter(range(99))

    def put(*inputs: str) -> str:
        return builder.embed(lower(next(layers)), f"{next(count)}.", *inputs)

    output = _cell(chosen, builder.input("x", (1, 4, 6, 6)), put)
    artifact = write(builder.build(output), "onnx")
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)
    (made,) = onnxruntime.InferenceSession(artifact.data).run([output], {"x": x})
    nodes = [torch.from_numpy(x)]
    mean = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    operations = {"avg_pool_3x3": mean, "skip_connect": lambda t: t, "none": torch.zeros_like}
    for target in range(1, 4):
        edges = [edge for edge, (_, end) in enumerate(EDGES) if end == target]
        nodes.append(sum(operations[OPERATIONS[chosen[edge]]](nodes[EDGES[edge][0]]) for edge in edges))
    np.testing.assert_allclose(made, nodes[-1].numpy(), atol=1e-5)
