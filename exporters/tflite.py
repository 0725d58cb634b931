"""Graphs to TFLite, straight into the flatbuffer: NHWC, paddings made explicit where SAME would differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.exporters.flatbuffer import FlatModel
from netdyno.exporters.graph import Graph, Node
from netdyno.exporters.layout import nhwc_shape
from netdyno.exporters.writers import emitter_for

Op = schema.BuiltinOperator
Activation = schema.ActivationFunctionType
_FUSING = frozenset({"conv", "linear", "add"})
_GROUPED_CONV_VERSION = 6


def write_tflite(graph: Graph) -> Artifact:
    """Write a graph as an FP32 TFLite model: NHWC in the file and so in ``Artifact.inputs``.

    A relu that alone reads a convolution, linear layer or addition is fused into it.

    Raises:
        InputError: the graph holds an operator that is not in :mod:`netdyno.exporters.graph`.
    """
    writing = _Writing(graph)
    inputs = [writing.activation(name) for name in graph.inputs]
    for node, activation in _fuse_relu(graph):
        emitter_for(node, EMITTERS, "tflite")(writing, node, activation)
    data = writing.model.finish(graph.name, inputs, [writing.activation(name) for name in graph.outputs])
    specs = tuple(TensorSpec(name, nhwc_shape(graph.shapes[name])) for name in graph.inputs)
    return Artifact(data, "tflite", graph.name, specs)


@dataclass
class _Writing:
    """A graph on its way into a file: where its activations and weights are in there."""

    graph: Graph
    model: FlatModel = field(default_factory=FlatModel)
    _activations: dict[str, int] = field(default_factory=dict)

    def activation(self, name: str) -> int:
        if name not in self._activations:
            shape = nhwc_shape(self.graph.shapes[name])
            self._activations[name] = self.model.activation(name, shape)
        return self._activations[name]

    def weight(self, name: str, axes: tuple[int, ...]) -> int:
        """A weight of the graph with its axes in another order."""
        return self.model.constant(name, np.asarray(self.graph.weights[name], dtype="<f4").transpose(axes))

    def emit(
        self,
        code: int,
        node: Node,
        options: Any = None,
        *,
        inputs: tuple[int, ...] | None = None,
        constants: tuple[int, ...] = (),
        version: int = 1,
    ) -> None:
        """One operator that makes the node's output, from the node's own inputs unless told otherwise."""
        if inputs is None:
            inputs = tuple(self.activation(name) for name in node.inputs)
        self.model.operator(code, (*inputs, *constants), self.activation(node.output), options, version)


def _fuse_relu(graph: Graph) -> Iterator[tuple[Node, int]]:
    """Each node with the activation function fused into it; a fused relu's output becomes its producer's."""
    readers = Counter(graph.outputs) + Counter(name for node in graph.nodes for name in node.inputs)
    relus = {node.inputs[0]: node.output for node in graph.nodes if node.op == "relu"}
    absorbed = set()
    for node in graph.nodes:
        if node.op in _FUSING and node.output in relus and readers[node.output] == 1:
            absorbed.add(relus[node.output])
            yield replace(node, output=relus[node.output]), Activation.RELU
        elif node.output not in absorbed:
            yield node, Activation.NONE


def _conv(writing: _Writing, node: Node, activation: int) -> None:
    weight, bias = node.weights
    filters, per_group = writing.graph.weights[weight].shape[:2]
    groups, stride = node.attributes["groups"], node.attributes["stride"]
    kernel = writing.graph.weights[weight].shape[2]
    x, padding = _padded(writing, node, kernel)
    depthwise = groups > 1 and per_group == 1
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = padding
    options.strideH = options.strideW = stride
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = activation
    if depthwise:
        options.depthMultiplier = filters // groups
    code = Op.DEPTHWISE_CONV_2D if depthwise else Op.CONV_2D
    axes = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    version = _GROUPED_CONV_VERSION if groups > 1 and not depthwise else 1
    constants = (writing.weight(weight, axes), writing.weight(bias, (0,)))
    writing.emit(code, node, options, inputs=(x,), constants=constants, version=version)


def _padded(writing: _Writing, node: Node, kernel: int) -> tuple[int, int]:
    """The input that a window reads, and its padding scheme; a PAD comes first where neither scheme fits.

    Ours is the same for every size of the input; TFLite's SAME is less where the stride leaves rows out. A PAD holds
    no more rows than the kernel reaches.
    """
    (name,) = node.inputs
    padding, stride = node.attributes["padding"], node.attributes["stride"]
    if not (padding or node.attributes["after"]):
        return writing.activation(name), schema.Padding.VALID
    batch, channels, *sides = writing.graph.shapes[name]
    # Rows and columns to add after the input, so that the last window just fits.
    outputs = writing.graph.shapes[node.output][2:]
    after = [(out - 1) * stride + kernel - padding - side for out, side in zip(outputs, sides, strict=True)]
    if [_same_padding(side, kernel, stride) for side in sides] == [(padding, end) for end in after]:
        return writing.activation(name), schema.Padding.SAME
    after = [max(end, 0) for end in after]
    height, width = (side + padding + end for side, end in zip(sides, after, strict=True))
    padded = writing.model.activation(f"{node.output}.padded", (batch, height, width, channels))
    amounts = np.array([(0, 0), *((padding, end) for end in after), (0, 0)], dtype="<i4")
    constant = writing.model.constant(f"pad.{padding}.{after[0]}.{after[1]}", amounts)
    writing.model.operator(Op.PAD, (writing.activation(name), constant), padded, schema.PadOptionsT())
    return padded, schema.Padding.VALID


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows that TFLite's SAME adds before and after."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _linear(writing: _Writing, node: Node, activation: int) -> None:
    weight, bias = node.weights
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = activation
    constants = (writing.weight(weight, (0, 1)), writing.weight(bias, (0,)))
    writing.emit(Op.FULLY_CONNECTED, node, options, constants=constants)


def _add(writing: _Writing, node: Node, activation: int) -> None:
    options = schema.AddOptionsT()
    options.fusedActivationFunction = activation
    writing.emit(Op.ADD, node, options)


def _mul(writing: _Writing, node: Node, _: int) -> None:
    writing.emit(Op.MUL, node, schema.MulOptionsT())


def _relu(writing: _Writing, node: Node, _: int) -> None:
    writing.emit(Op.RELU, node)


def _h_swish(writing: _Writing, node: Node, _: int) -> None:
    writing.emit(Op.HARD_SWISH, node, schema.HardSwishOptionsT())


def _swish(writing: _Writing, node: Node, _: int) -> None:
    """The input times its sigmoid: TFLite has no operator of its own for it."""
    (name,) = node.inputs
    x, shape = writing.activation(name), nhwc_shape(writing.graph.shapes[name])
    gate = writing.model.activation(f"{node.output}.gate", shape)
    writing.model.operator(Op.LOGISTIC, (x,), gate)
    writing.emit(Op.MUL, node, schema.MulOptionsT(), inputs=(x, gate))


def _h_sigmoid(writing: _Writing, node: Node, _: int) -> None:
    """relu6(x + 3) · 1/6: TFLite has no operator of its own for it."""
    model = writing.model
    (name,) = node.inputs
    clipped = model.activation(f"{node.output}.relu6", nhwc_shape(writing.graph.shapes[name]))
    options = schema.AddOptionsT()
    options.fusedActivationFunction = Activation.RELU6
    model.operator(Op.ADD, (writing.activation(name), _scalar(model, "three", 3)), clipped, options)
    writing.emit(Op.MUL, node, schema.MulOptionsT(), inputs=(clipped, _scalar(model, "sixth", 1 / 6)))


def _scalar(model: FlatModel, name: str, value: float) -> int:
    return model.constant(name, np.array(value, dtype="<f4"))


def _global_mean(writing: _Writing, node: Node, _: int) -> None:
    options = schema.ReducerOptionsT()
    options.keepDims = True
    axes = writing.model.constant("height.width", np.array([1, 2], dtype="<i4"))
    writing.emit(Op.MEAN, node, options, constants=(axes,))


def _avg_pool(writing: _Writing, node: Node, _: int) -> None:
    x, padding = _padded(writing, node, node.attributes["kernel"])
    writing.emit(Op.AVERAGE_POOL_2D, node, _pooling(node, padding), inputs=(x,))


def _max_pool(writing: _Writing, node: Node, _: int) -> None:
    """Padded as SAME is, where anything is: zeros of a PAD would be values."""
    padded = node.attributes["padding"] or node.attributes["after"]
    padding = schema.Padding.SAME if padded else schema.Padding.VALID
    writing.emit(Op.MAX_POOL_2D, node, _pooling(node, padding))


def _pooling(node: Node, padding: int) -> Any:
    options = schema.Pool2DOptionsT()
    options.filterHeight = options.filterWidth = node.attributes["kernel"]
    options.strideH = options.strideW = node.attributes["stride"]
    options.padding = padding
    return options


def _zero(writing: _Writing, node: Node, _: int) -> None:
    (x,) = (writing.activation(name) for name in node.inputs)
    writing.emit(Op.SUB, node, schema.SubOptionsT(), inputs=(x, x))


def _shuffle(writing: _Writing, node: Node, _: int) -> None:
    """A transposition of the channels' two halves of an index, between two reshapes."""
    model, groups = writing.model, node.attributes["groups"]
    n, h, w, c = nhwc_shape(writing.graph.shapes[node.output])
    dealt = model.activation(f"{node.output}.groups", (n, h * w, groups, c // groups))
    turned = model.activation(f"{node.output}.dealt", (n, h * w, c // groups, groups))
    order = model.constant("order.0132", np.array([0, 1, 3, 2], dtype="<i4"))
    options, shape = _reshaping(writing, (n, h * w, groups, c // groups))
    model.operator(Op.RESHAPE, (writing.activation(node.inputs[0]), shape), dealt, options)
    model.operator(Op.TRANSPOSE, (dealt, order), turned, schema.TransposeOptionsT())
    options, shape = _reshaping(writing, (n, h, w, c))
    writing.emit(Op.RESHAPE, node, options, inputs=(turned, shape))


def _reshape(writing: _Writing, node: Node, _: int) -> None:
    """A copy: flatten, and identity too, since LiteRT has no cheaper operator that does nothing."""
    options, shape = _reshaping(writing, nhwc_shape(writing.graph.shapes[node.output]))
    writing.emit(Op.RESHAPE, node, options, constants=(shape,))


def _reshaping(writing: _Writing, shape: tuple[int, ...]) -> tuple[Any, int]:
    """Options, and the constant that says the shape once more."""
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    name = "shape." + "x".join(map(str, shape))
    return options, writing.model.constant(name, np.array(shape, dtype="<i4"))


EMITTERS: dict[str, Callable[[_Writing, Node, int], None]] = {
    "conv": _conv,
    "linear": _linear,
    "relu": _relu,
    "swish": _swish,
    "h_swish": _h_swish,
    "h_sigmoid": _h_sigmoid,
    "global_mean": _global_mean,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "shuffle": _shuffle,
    "flatten": _reshape,
    "add": _add,
    "mul": _mul,
    "identity": _reshape,
    "zero": _zero,
}
