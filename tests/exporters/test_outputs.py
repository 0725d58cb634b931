"""Every operator and every kind of block computes in each format what torch computes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from netdyno.base.errors import InputError
from netdyno.exporters import Graph, GraphBuilder, Node, largest_difference, write

KINDS = [
    (kernel, stride, side, middle, activation, excite, skip)
    for kernel, stride, side, middle, activation, excite, skip in product(
        (3, 5, 7), (1, 2), (8, 9), (8, 24), ("relu", "h_swish"), (False, True), (False, True)
    )
    if stride == 1 or not skip
]


def test_operator_computes_what_torch_computes(operator_graph, file_format, run, inputs_of, torch_outputs):
    inputs = inputs_of(operator_graph)
    outputs = run(write(operator_graph, file_format), inputs)
    assert largest_difference(outputs, torch_outputs(operator_graph, inputs)) <= 1e-5


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
def test_block_computes_what_torch_computes(kind, block, mbconv, file_format, run, inputs_of, torch_outputs):
    kernel, stride, side, middle, activation, excite, skip = kind
    filters = 8 if skip else 12
    graph = mbconv(
        block(kernel, stride, side, 8, filters, middle, activation, excite, skip),
    )
    inputs = inputs_of(graph)
    outputs = run(write(graph, file_format), inputs)
    assert largest_difference(outputs, torch_outputs(graph, inputs)) <= 1e-5


def test_classifier_head_computes_what_torch_computes(weights, file_format, run, inputs_of, torch_outputs):
    builder = GraphBuilder("head")
    x = builder.flatten(builder.global_mean(builder.input("image", (2, 12, 7, 7))))
    x = builder.unary("relu", builder.linear(x, weights(20, 12), weights(20), name="hidden"))
    graph = builder.build(builder.linear(x, weights(5, 20), weights(5), name="logits"))
    inputs = inputs_of(graph)
    outputs = run(write(graph, file_format), inputs)
    assert outputs["logits"].shape == (2, 5)
    assert largest_difference(outputs, torch_outputs(graph, inputs)) <= 1e-5


def test_two_inputs_and_two_outputs_keep_their_names(file_format, run, inputs_of, torch_outputs):
    builder = GraphBuilder("pair")
    a, b = builder.input("a", (1, 4, 3, 3)), builder.input("b", (1, 4, 3, 3))
    total = builder.add(a, b)
    graph = builder.build(total, builder.unary("relu", total))
    inputs = inputs_of(graph)
    outputs = run(write(graph, file_format), inputs)
    assert outputs.keys() == set(graph.outputs)
    assert largest_difference(outputs, torch_outputs(graph, inputs)) <= 1e-5


def test_artifact_says_what_it_is(block, mbconv, file_format):
    artifact = write(mbconv(block(side=9)), file_format)
    assert (artifact.format, artifact.name, artifact.precision) == (file_format, "mbconv", "fp32")
    shape = {"onnx": (1, 8, 9, 9), "tflite": (1, 9, 9, 8)}[file_format]
    assert [(spec.name, spec.shape, spec.dtype) for spec in artifact.inputs] == [("x", shape, "float32")]
    assert artifact.sha256 == write(mbconv(block(side=9)), file_format).sha256


def test_unknown_operator_is_one_clear_line(file_format):
    node = Node("softmax", ("x",), "y")
    graph = Graph("odd", ("x",), ("y",), (node,), {}, {"x": (1, 2), "y": (1, 2)})
    with pytest.raises(InputError, match=f"no operator 'softmax' in the {file_format} writer") as caught:
        write(graph, file_format)
    assert caught.value.layer == "y"


def test_a_batch_computes_what_its_parts_compute(operator_graph, file_format, run, inputs_of):
    """Three times the inputs in one file are three times the outputs."""
    batched = operator_graph.batched(3)
    parts = [inputs_of(operator_graph, seed=seed) for seed in range(3)]
    together = {name: np.concatenate([part[name] for part in parts]) for name in operator_graph.inputs}
    outputs = run(write(batched, file_format), together)
    alone = [run(write(operator_graph, file_format), part) for part in parts]
    for name in operator_graph.outputs:
        assert outputs[name].shape == batched.shapes[name]
        np.testing.assert_allclose(outputs[name], np.concatenate([one[name] for one in alone]), rtol=1e-4, atol=1e-5)


def test_no_batch_of_nothing(operator_graph):
    with pytest.raises(InputError, match="at least 1, not 0"):
        operator_graph.batched(0)
