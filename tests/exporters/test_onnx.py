"""The ONNX file itself: valid, node for node the graph, and no hungrier."""

from __future__ import annotations

import math

import onnx
import pytest
from onnx import shape_inference

from netdyno.exporters import GraphBuilder, join, write
from netdyno.exporters.onnx import IR_VERSION, OPSET


def brute_force_peak(model: onnx.ModelProto) -> int:
    """Peak FP32 activation bytes by birth and death of every tensor, from nothing but the file."""
    graph = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    weights = {tensor.name for tensor in graph.initializer}
    infos = [*graph.input, *graph.value_info, *graph.output]
    size = {v.name: 4 * math.prod(d.dim_value for d in v.type.tensor_type.shape.dim) for v in infos}
    born = {value.name: 0 for value in graph.input}
    died = {}
    for step, node in enumerate(graph.node):
        born |= dict.fromkeys(node.output, step)
        died |= dict.fromkeys((name for name in node.input if name not in weights), step)
    died |= {value.name: len(graph.node) for value in graph.output}
    return max(
        sum(size[name] for name, birth in born.items() if birth <= step <= died.get(name, birth))
        for step in range(len(graph.node))
    )


def test_operator_file_is_valid_and_node_for_node_the_graph(operator_graph):
    model = onnx.load_from_string(write(operator_graph, "onnx").data)
    onnx.checker.check_model(model, full_check=True)
    made = {node.output for node in operator_graph.nodes}
    outputs = [name for node in model.graph.node for name in node.output]
    assert [name for name in outputs if name in made] == [node.output for node in operator_graph.nodes]
    if not any(node.op in ("shuffle", "swish") for node in operator_graph.nodes):
        assert len(outputs) == len(made)
    assert model.ir_version == IR_VERSION
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]


@pytest.mark.parametrize("excite", [False, True])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("middle", [8, 32])
def test_peak_activation_is_that_of_the_file(block, mbconv, excite, skip, middle):
    graph = mbconv(block(middle=middle, excite=excite, skip=skip))
    model = onnx.load_from_string(write(graph, "onnx").data)
    assert graph.peak_activation_bytes() == brute_force_peak(model)


def test_peak_activation_of_a_chain_is_that_of_the_file(block, mbconv):
    graph = join(
        "net",
        [
            mbconv(block(side=17, stride=2, filters=8, excite=True)),
            mbconv(block(side=9, skip=True)),
            mbconv(block(side=9, kernel=5, stride=2, filters=12, middle=40)),
        ],
    )
    model = onnx.load_from_string(write(graph, "onnx").data)
    assert graph.peak_activation_bytes() == brute_force_peak(model)


def test_peak_activation_by_hand():
    builder = GraphBuilder("hand")
    x = builder.input("x", (1, 2, 4, 4))  # 128 bytes
    y = builder.unary("relu", x)
    graph = builder.build(builder.add(y, x))
    assert graph.peak_activation_bytes() == 3 * 128
