"""Layers as torch modules, and their weights with batch norm folded in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from netdyno.base.errors import InputError
from netdyno.profiler.layers import (
    Conv,
    Dense,
    FBNetBlock,
    GlobalPool,
    Layer,
    Linear,
    MaxPool,
    MBConv,
    PlainConv,
    SeparableConv,
)

Folded = dict[str, NDArray[np.float32]]


def activate(x: Tensor, act: str) -> Tensor:
    """Apply one of :data:`netdyno.profiler.layers.ACTIVATIONS`."""
    match act:
        case "relu":
            return F.relu(x)
        case "swish":
            return F.silu(x)
        case "h_swish":
            return F.hardswish(x)
        case _:
            return x


class LayerModule(nn.Module):
    """A layer as a torch module."""

    def folded(self) -> Folded:
        """Weights with batch norm folded in, by the part names of :func:`netdyno.profiler.lower.weight_shapes`."""
        return {}


class ConvModule(LayerModule):
    """A convolution, batch norm where the layer has one, activation."""

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        self.act = layer.act
        pad = layer.kernel // 2
        self.conv = nn.Conv2d(layer.cin, layer.cout, layer.kernel, layer.stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(layer.cout) if layer.norm else None

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        y = self.conv(x)
        return activate(y if self.bn is None else self.bn(y), self.act)

    def folded(self) -> Folded:
        """One convolution."""
        return _fold("conv", self.conv, self.bn)


class PlainConvModule(LayerModule):
    """A convolution with a bias, then its activation."""

    def __init__(self, layer: PlainConv) -> None:
        super().__init__()
        self.act = layer.act
        before, after = (layer.kernel - 1) // 2, layer.kernel // 2
        self.uneven = before != after
        self.conv = nn.Conv2d(layer.cin, layer.cout, layer.kernel, layer.stride, 0 if self.uneven else before)
        self.pads = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        return activate(self.conv(F.pad(x, self.pads) if self.uneven else x), self.act)

    def folded(self) -> Folded:
        """The weights as they are."""
        return _fold("conv", self.conv, None)


class MaxPoolModule(LayerModule):
    """The largest in a window; beyond the input there is nothing larger."""

    def __init__(self, layer: MaxPool) -> None:
        super().__init__()
        self.kernel, self.stride = layer.kernel, layer.stride
        beyond = max((-(-layer.h // layer.stride) - 1) * layer.stride + layer.kernel - layer.h, 0)
        self.pads = (beyond // 2, beyond - beyond // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, h)`` to ``(n, c, h / stride, h / stride)``."""
        return F.max_pool2d(F.pad(x, self.pads, value=-torch.inf), self.kernel, self.stride)


class DenseModule(LayerModule):
    """A fully connected layer on all of its input, then its activation."""

    def __init__(self, layer: Dense) -> None:
        super().__init__()
        self.act = layer.act
        self.dense = nn.Conv2d(layer.cin, layer.cout, layer.h)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, h, h)`` to ``(n, cout, 1, 1)``."""
        return activate(self.dense(x), self.act)

    def folded(self) -> Folded:
        """The weights as they are."""
        return _fold("dense", self.dense, None)


class MBConvModule(LayerModule):
    """An inverted bottleneck."""

    def __init__(self, layer: MBConv) -> None:
        super().__init__()
        mid, pad = layer.mid, layer.kernel // 2
        self.act, self.skip = layer.act, bool(layer.skip)
        self.expand = nn.Conv2d(layer.cin, mid, 1, bias=False) if layer.expands else None
        self.expand_bn = nn.BatchNorm2d(mid) if layer.expands else None
        self.depthwise = nn.Conv2d(mid, mid, layer.kernel, layer.stride, pad, groups=mid, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(mid)
        self.reduce = nn.Conv2d(mid, layer.se, 1) if layer.se else None
        self.excite = nn.Conv2d(layer.se, mid, 1) if layer.se else None
        self.project = nn.Conv2d(mid, layer.cout, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(layer.cout)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        y = x
        if self.expand is not None and self.expand_bn is not None:
            y = activate(self.expand_bn(self.expand(y)), self.act)
        y = activate(self.depthwise_bn(self.depthwise(y)), self.act)
        if self.reduce is not None and self.excite is not None:
            gate = y.mean((2, 3), keepdim=True)
            y = y * F.hardsigmoid(self.excite(F.relu(self.reduce(gate))))
        y = self.project_bn(self.project(y))
        z: Tensor = y + x if self.skip else y
        return z

    def folded(self) -> Folded:
        """Every convolution of the block."""
        weights: Folded = {}
        if self.expand is not None:
            weights |= _fold("expand", self.expand, self.expand_bn)
        weights |= _fold("depthwise", self.depthwise, self.depthwise_bn)
        if self.reduce is not None and self.excite is not None:
            weights |= _fold("reduce", self.reduce, None) | _fold("excite", self.excite, None)
        return weights | _fold("project", self.project, self.project_bn)


class SeparableModule(LayerModule):
    """A depthwise separable convolution."""

    def __init__(self, layer: SeparableConv) -> None:
        super().__init__()
        self.act, pad = layer.act, layer.kernel // 2
        self.depthwise = nn.Conv2d(
            layer.cin, layer.cin, layer.kernel, layer.stride, pad, groups=layer.cin, bias=False
        )
        self.depthwise_bn = nn.BatchNorm2d(layer.cin)
        self.pointwise = nn.Conv2d(layer.cin, layer.cout, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(layer.cout)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        y = activate(self.depthwise_bn(self.depthwise(x)), self.act)
        return activate(self.pointwise_bn(self.pointwise(y)), self.act)

    def folded(self) -> Folded:
        """Both convolutions."""
        return _fold("depthwise", self.depthwise, self.depthwise_bn) | _fold(
            "pointwise", self.pointwise, self.pointwise_bn
        )


class FBNetModule(LayerModule):
    """FBNet's block."""

    def __init__(self, layer: FBNetBlock) -> None:
        super().__init__()
        mid, pad, self.groups, self.skip = layer.mid, layer.kernel // 2, layer.groups, bool(layer.skip)
        self.expand = nn.Conv2d(layer.cin, mid, 1, groups=layer.groups, bias=False)
        self.expand_bn = nn.BatchNorm2d(mid)
        self.depthwise = nn.Conv2d(mid, mid, layer.kernel, layer.stride, pad, groups=mid, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(mid)
        self.project = nn.Conv2d(mid, layer.cout, 1, groups=layer.groups, bias=False)
        self.project_bn = nn.BatchNorm2d(layer.cout)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        y = F.relu(self.expand_bn(self.expand(x)))
        if self.groups > 1:
            y = F.channel_shuffle(y, self.groups)
        y = F.relu(self.depthwise_bn(self.depthwise(y)))
        y = self.project_bn(self.project(y))
        z: Tensor = y + x if self.skip else y
        return z

    def folded(self) -> Folded:
        """The three convolutions."""
        return {
            part: array
            for name in ("expand", "depthwise", "project")
            for part, array in _fold(name, getattr(self, name), getattr(self, f"{name}_bn")).items()
        }


class PoolModule(LayerModule):
    """The mean over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, 1, 1)``."""
        return x.mean((2, 3), keepdim=True)


class LinearModule(LayerModule):
    """A fully connected layer on a flattened input."""

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.cin, layer.cout)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, 1, 1)`` to ``(n, cout)``."""
        logits: Tensor = self.linear(x.flatten(1))
        return logits

    def folded(self) -> Folded:
        """The weights as they are."""
        return _fold("linear", self.linear, None)


MODULES: dict[type[Layer], Callable[[Any], LayerModule]] = {
    Conv: ConvModule,
    PlainConv: PlainConvModule,
    SeparableConv: SeparableModule,
    MBConv: MBConvModule,
    FBNetBlock: FBNetModule,
    MaxPool: MaxPoolModule,
    GlobalPool: lambda _: PoolModule(),
    Dense: DenseModule,
    Linear: LinearModule,
}


def make_module(layer: Layer) -> LayerModule:
    """The torch module of a layer, freshly initialised.

    Raises:
        InputError: there is none for this kind of layer.
    """
    try:
        return MODULES[type(layer)](layer)
    except KeyError:
        raise InputError(f"a {layer.kind} layer cannot be trained: it has no torch module") from None


def _fold(part: str, op: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d | None) -> Folded:
    """Weight and bias of an operator with the batch norm behind it folded in, computed in double precision."""
    weight = op.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if op.bias is None else op.bias.detach().double()
    if norm is not None:
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
        bias = (bias - norm.running_mean.double()) * scale + norm.bias.detach().double()
    return {f"{part}.weight": weight.float().numpy(), f"{part}.bias": bias.float().numpy()}
