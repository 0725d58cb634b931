"""Graphs to ONNX, node by node, without tracing.

Every graph node becomes exactly one ONNX node in the same order, so the graph's peak activation is the file's.
"""

from __future__ import annotations

from collections.abc import Callable
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

Emitter = Callable[[Node], NodeProto]


def write_onnx(graph: Graph) -> Artifact:
    """Write a graph as an FP32 ONNX model: NCHW, opset 17, weights as raw bytes.

    Raises:
        InputError: the graph holds an operator that is not in :mod:`netdyno.exporters.graph`.
    """
    opsets = [OperatorSetIdProto(version=OPSET)]
    model = ModelProto(ir_version=IR_VERSION, producer_name="netdyno", opset_import=opsets)
    proto = GraphProto(
        name=graph.name,
        node=[emitter_for(node, EMITTERS, "onnx")(node) for node in graph.nodes],
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

    def emit(node: Node) -> NodeProto:
        reads = (*node.inputs, *node.weights)
        return helper.make_node(operator, reads, (node.output,), node.output, **attributes)

    return emit


def _conv(node: Node) -> NodeProto:
    strides = [node.attributes["stride"]] * 2
    pads = [node.attributes["padding"]] * 4
    return _plain("Conv", strides=strides, pads=pads, group=node.attributes["groups"])(node)


EMITTERS: dict[str, Emitter] = {
    "conv": _conv,
    "linear": _plain("Gemm", transB=1),
    "relu": _plain("Relu"),
    "h_swish": _plain("HardSwish"),
    "h_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "global_mean": _plain("GlobalAveragePool"),
    "flatten": _plain("Flatten", axis=1),
    "add": _plain("Add"),
    "mul": _plain("Mul"),
    "identity": _plain("Identity"),
}
