"""Lower a layer to the op-level graph that is both measured and shipped."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from netdyno.exporters.graph import Graph, GraphBuilder
from netdyno.profiler.layers import (
    Add,
    AvgPool,
    Conv,
    Dense,
    FBNetBlock,
    GlobalPool,
    Layer,
    Linear,
    MaxPool,
    MBConv,
    Norm,
    Overhead,
    PlainConv,
    PreConv,
    PreResidual,
    SeparableConv,
    Skip,
    Zero,
)

Weights = Mapping[str, NDArray[np.float32]]


def lower(layer: Layer, weights: Weights | None = None) -> Graph:
    """The graph of a layer, batch norm folded.

    ``weights`` holds ``PART.weight`` and ``PART.bias`` with the shapes of :func:`weight_shapes`; without them the
    graph gets fixed random ones of a realistic scale, which is all that a measurement needs.
    """
    builder = GraphBuilder(layer.kind)
    x = builder.input("input", layer.input_shape)
    return builder.build(_emit(layer, builder, x, random_weights(layer) if weights is None else weights))


def no_weights(layer: Layer) -> Weights:
    """Weights that have shapes and take no memory: for graphs to count on, not to run."""
    nothing = np.zeros((), np.float32)
    return {
        f"{part}.{kind}": np.broadcast_to(nothing, shape if kind == "weight" else shape[:1])
        for part, shape in weight_shapes(layer).items()
        for kind in ("weight", "bias")
    }


def weight_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """Shape of each weight by its part: convolutions ``(O, I/groups, k, k)``, linear ``(out, in)``."""
    shapes: dict[str, tuple[int, ...]] = {}
    match layer:
        case Conv() | PreConv() | PlainConv():
            shapes["conv"] = (layer.cout, layer.cin, layer.kernel, layer.kernel)
        case SeparableConv():
            shapes["depthwise"] = (layer.cin, 1, layer.kernel, layer.kernel)
            shapes["pointwise"] = (layer.cout, layer.cin, 1, 1)
        case Linear():
            shapes["linear"] = (layer.cout, layer.cin)
        case Dense():
            shapes["dense"] = (layer.cout, layer.cin, layer.h, layer.w)
        case MBConv():
            if layer.expands:
                shapes["expand"] = (layer.mid, layer.cin, 1, 1)
            shapes["depthwise"] = (layer.mid, 1, layer.kernel, layer.kernel)
            if layer.se:
                shapes["reduce"] = (layer.se, layer.mid, 1, 1)
                shapes["excite"] = (layer.mid, layer.se, 1, 1)
            shapes["project"] = (layer.cout, layer.mid, 1, 1)
        case FBNetBlock():
            shapes["expand"] = (layer.mid, layer.cin // layer.groups, 1, 1)
            shapes["depthwise"] = (layer.mid, 1, layer.kernel, layer.kernel)
            shapes["project"] = (layer.cout, layer.mid // layer.groups, 1, 1)
        case PreResidual():
            shapes["first"] = (layer.cout, layer.cin, layer.kernel, layer.kernel)
            shapes["second"] = (layer.cout, layer.cout, layer.kernel, layer.kernel)
            shapes["shortcut"] = (layer.cout, layer.cin, 1, 1)
        case Norm():
            shapes["norm"] = (layer.cin, 1, 1, 1)
    return shapes


def random_weights(layer: Layer) -> dict[str, NDArray[np.float32]]:
    """Weights that keep activations at unit scale, the same for a key on every machine."""
    generator = np.random.default_rng(zlib.crc32(layer.key.encode()))
    weights: dict[str, NDArray[np.float32]] = {}
    for part, shape in weight_shapes(layer).items():
        fan_in = int(np.prod(shape[1:]))
        weights[f"{part}.weight"] = generator.standard_normal(shape, np.float32) * np.float32(fan_in**-0.5)
        weights[f"{part}.bias"] = np.zeros(shape[0], np.float32)
    return weights


@singledispatch
def _emit(layer: Layer, builder: GraphBuilder, x: str, weights: Weights) -> str:
    raise TypeError(f"no lowering for a {layer.kind} layer")


@_emit.register
def _(layer: Overhead | Skip, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return builder.unary("identity", x)


@_emit.register
def _(layer: Conv | PlainConv, builder: GraphBuilder, x: str, weights: Weights) -> str:
    y = _conv(builder, x, weights, "conv", stride=layer.stride)
    return _activate(builder, y, layer.act)


@_emit.register
def _(layer: SeparableConv, builder: GraphBuilder, x: str, weights: Weights) -> str:
    y = _conv(builder, x, weights, "depthwise", stride=layer.stride, groups=layer.cin)
    y = _conv(builder, _activate(builder, y, layer.act), weights, "pointwise")
    return _activate(builder, y, layer.act)


@_emit.register
def _(layer: MBConv, builder: GraphBuilder, x: str, weights: Weights) -> str:
    y = x
    if layer.expands:
        y = _activate(builder, _conv(builder, y, weights, "expand"), layer.act)
    y = _conv(builder, y, weights, "depthwise", stride=layer.stride, groups=layer.mid)
    y = _activate(builder, y, layer.act)
    if layer.se:
        gate = builder.global_mean(y)
        gate = builder.unary("relu", _conv(builder, gate, weights, "reduce"))
        gate = builder.unary("h_sigmoid", _conv(builder, gate, weights, "excite"))
        y = builder.mul(y, gate)
    y = _conv(builder, y, weights, "project")
    return builder.add(y, x) if layer.skip else y


@_emit.register
def _(layer: GlobalPool, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return builder.global_mean(x)


@_emit.register
def _(layer: Linear, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return builder.linear(builder.flatten(x), weights["linear.weight"], weights["linear.bias"], name="linear")


@_emit.register
def _(layer: MaxPool, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return builder.max_pool(x, kernel=layer.kernel, stride=layer.stride)


@_emit.register
def _(layer: Dense, builder: GraphBuilder, x: str, weights: Weights) -> str:
    """A convolution whose kernel is the whole input: the same in every layout of activations."""
    y = builder.conv(x, weights["dense.weight"], weights["dense.bias"], name="dense", whole=True)
    return _activate(builder, y, layer.act)


@_emit.register
def _(layer: FBNetBlock, builder: GraphBuilder, x: str, weights: Weights) -> str:
    y = builder.unary("relu", _conv(builder, x, weights, "expand", groups=layer.groups))
    if layer.groups > 1:
        y = builder.shuffle(y, groups=layer.groups)
    y = _conv(builder, y, weights, "depthwise", stride=layer.stride, groups=layer.mid)
    y = _conv(builder, builder.unary("relu", y), weights, "project", groups=layer.groups)
    return builder.add(y, x) if layer.skip else y


@_emit.register
def _(layer: PreConv, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return _conv(builder, builder.unary("relu", x), weights, "conv", stride=layer.stride)


@_emit.register
def _(layer: PreResidual, builder: GraphBuilder, x: str, weights: Weights) -> str:
    y = _conv(builder, builder.unary("relu", x), weights, "first", stride=layer.stride)
    y = _conv(builder, builder.unary("relu", y), weights, "second")
    return builder.add(y, _conv(builder, builder.avg_pool(x, kernel=2, stride=2), weights, "shortcut"))


@_emit.register
def _(layer: AvgPool, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return builder.avg_pool(x, kernel=layer.kernel, stride=1)


@_emit.register
def _(layer: Zero, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return builder.unary("zero", x)


@_emit.register
def _(layer: Add, builder: GraphBuilder, x: str, weights: Weights) -> str:
    return builder.add(x, builder.input("other", layer.input_shape))


@_emit.register
def _(layer: Norm, builder: GraphBuilder, x: str, weights: Weights) -> str:
    """A scale and a shift per channel are a depthwise 1×1 convolution."""
    return builder.unary("relu", _conv(builder, x, weights, "norm", groups=layer.cin))


def _conv(builder: GraphBuilder, x: str, weights: Weights, part: str, stride: int = 1, groups: int = 1) -> str:
    weight, bias = weights[f"{part}.weight"], weights[f"{part}.bias"]
    return builder.conv(x, weight, bias, name=part, stride=stride, groups=groups)


def _activate(builder: GraphBuilder, x: str, act: str) -> str:
    return x if act == "none" else builder.unary(act, x)
