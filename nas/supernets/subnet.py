"""Subnets: plain torch modules, one submodule for each layer of an architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from netdyno.exporters.graph import Graph
from netdyno.nas.space import Population, Space
from netdyno.profiler.layers import Conv, GlobalPool, Layer, Linear, MBConv

CALIBRATION_IMAGES = 512

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


def make_module(layer: Layer) -> LayerModule:
    """The torch module of a layer, freshly initialised."""
    match layer:
        case Conv():
            return ConvModule(layer)
        case MBConv():
            return MBConvModule(layer)
        case GlobalPool():
            return PoolModule()
        case Linear():
            return LinearModule(layer)
        case _:
            raise TypeError(f"no torch module for a {layer.kind} layer")


class Subnet(nn.Module):
    """One architecture of a space as a plain network: a chain of layer modules.

    ``forward`` takes ``(n, 3, r, r)`` float32 and returns logits ``(n, classes)``.
    """

    def __init__(self, space: Space, genes: Population) -> None:
        super().__init__()
        self.space = space
        self.genes = np.array(genes, np.int64)
        self.blocks = nn.ModuleList(make_module(layer) for layer in space.layers(genes))

    @property
    def resolution(self) -> int:
        """Height and width of the input."""
        return self.space.resolution(self.genes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        for block in self.blocks:
            x = block(x)
        return x

    def graph(self) -> Graph:
        """The op-level graph with this network's weights, batch norm folded."""
        return self.space.graph(self.genes, [cast(LayerModule, block).folded() for block in self.blocks])


def resize(images: Tensor, resolution: int) -> Tensor:
    """``(n, 3, h, w)`` to ``(n, 3, resolution, resolution)``, bilinear with antialiasing."""
    if images.shape[-1] == resolution:
        return images
    return F.interpolate(images, (resolution, resolution), mode="bilinear", antialias=True)


def recalibrate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Set every batch norm's statistics anew from images, as each subnet of a supernet needs.

    ``batches``: images ``(n, 3, r, r)``. Source: Yu & Huang 2019, section 3 (post-statistics of batch norm).
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    was_training = network.training
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    network.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


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
