"""Graphs to ONNX, node by node, without tracing.

Every graph node becomes one ONNX node in the same order, so the graph's peak activation is the file's; a channel
shuffle becomes a transposition between two reshapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto, helper

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.exporters.graph import Graph, Node
from netdyno.exporters.protobuf import field
from netdyno.exporters.writers import emitter_for

if TYPE_CHECKING:
    from netdyno.exporters.graph import Array

OPSET = 17
IR_VERSION = 8
"""What ONNX 1.12 (2022) wrote: HardSwish is in it, and runtimes since then read it."""

Emitter = Callable[[Graph, Node], Sequence[NodeProto]]


def write_onnx(graph: Graph) -> Artifact:
    """Write a graph as an FP32 ONNX model: NCHW, opset 17, weights as raw bytes.

    Raises:
        InputError: the graph holds an operator that is not in :mod:`netdyno.exporters.graph`.
    """
    opsets = [OperatorSetIdProto(version=OPSET)]
    model = ModelProto(ir_version=IR_VERSION, producer_name="netdyno", opset_import=opsets)
    proto = GraphProto(
        name=graph.name,
        node=[proto for node in graph.nodes for proto in emitter_for(node, EMITTERS, "onnx")(graph, node)],
        input=[_value(graph, name) for name in graph.inputs],
        output=[_value(graph, name) for name in graph.outputs],
    )
    parts = [proto.SerializeToString()]
    for name, weight in graph.weights.items():
        parts += field(GraphProto.INITIALIZER_FIELD_NUMBER, _initializer(name, weight))
    data = b"".join([model.SerializeToString(), *field(ModelProto.GRAPH_FIELD_NUMBER, parts)])
    inputs = tuple(TensorSpec(name, graph.shapes[name]) for name in graph.inputs)
    return Artifact(data, "onnx", graph.name, inputs)


def _initializer(name: str, weight: Array) -> list[bytes]:
    head = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=weight.shape)
    raw = np.asarray(weight, dtype="<f4").tobytes()
    return [head.SerializeToString(), *field(TensorProto.RAW_DATA_FIELD_NUMBER, [raw])]


def _value(graph: Graph, name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.shapes[name])


def _plain(operator: str, **attributes: Any) -> Emitter:
    """An emitter for an operator whose attributes are always the same."""

    def emit(_: Graph, node: Node) -> Sequence[NodeProto]:
        reads = (*node.inputs, *node.weights)
        return [helper.make_node(operator, reads, (node.output,), node.output, **attributes)]

    return emit


def _conv(graph: Graph, node: Node) -> Sequence[NodeProto]:
    return _plain("Conv", **_window(node), group=node.attributes["groups"])(graph, node)


def _avg_pool(graph: Graph, node: Node) -> Sequence[NodeProto]:
    kernel_shape = [node.attributes["kernel"]] * 2
    return _plain("AveragePool", **_window(node), kernel_shape=kernel_shape, count_include_pad=0)(graph, node)


def _max_pool(graph: Graph, node: Node) -> Sequence[NodeProto]:
    return _plain("MaxPool", **_window(node), kernel_shape=[node.attributes["kernel"]] * 2)(graph, node)


def _window(node: Node) -> dict[str, list[int]]:
    before, after = node.attributes["padding"], node.attributes["after"]
    return {"strides": [node.attributes["stride"]] * 2, "pads": [before, before, after, after]}


def _shuffle(graph: Graph, node: Node) -> Sequence[NodeProto]:
    (x,) = node.inputs
    n, c, h, w = graph.shapes[x]
    groups = node.attributes["groups"]
    dealt, turned = f"{node.output}.groups", f"{node.output}.dealt"
    return [
        *_reshape(x, dealt, (n, groups, c // groups, h * w)),
        helper.make_node("Transpose", (dealt,), (turned,), turned, perm=(0, 2, 1, 3)),
        *_reshape(turned, node.output, (n, c, h, w)),
    ]


def _reshape(x: str, output: str, shape: tuple[int, ...]) -> Sequence[NodeProto]:
    constant = f"{output}.shape"
    return [
        helper.make_node("Constant", (), (constant,), constant, value_ints=shape),
        helper.make_node("Reshape", (x, constant), (output,), output),
    ]


def _swish(_: Graph, node: Node) -> Sequence[NodeProto]:
    (x,), gate = node.inputs, f"{node.output}.gate"
    return [
        helper.make_node("Sigmoid", (x,), (gate,), gate),
        helper.make_node("Mul", (x, gate), (node.output,), node.output),
    ]


def _zero(_: Graph, node: Node) -> Sequence[NodeProto]:
    return [helper.make_node("Sub", node.inputs * 2, (node.output,), node.output)]


EMITTERS: dict[str, Emitter] = {
    "conv": _conv,
    "linear": _plain("Gemm", transB=1),
    "relu": _plain("Relu"),
    "swish": _swish,
    "h_swish": _plain("HardSwish"),
    "h_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "global_mean": _plain("GlobalAveragePool"),
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "shuffle": _shuffle,
    "flatten": _plain("Flatten", axis=1),
    "add": _plain("Add"),
    "mul": _plain("Mul"),
    "identity": _plain("Identity"),
    "zero": _zero,
}
