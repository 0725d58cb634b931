"""Networks without their heads: feature maps at each stride, for the heads of detectors and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from netdyno.base.errors import InputError
from netdyno.exporters.graph import Graph, join
from netdyno.nas.supernets.modules import LayerModule
from netdyno.nas.supernets.subnet import Subnet
from netdyno.profiler.layers import Conv, GlobalPool
from netdyno.profiler.lower import lower

FIRST_LEVEL = 2
"""c2: a quarter of the input's side. What is larger is of no use to a head, and slow to hand over."""


def feature_maps(subnet: Subnet) -> dict[int, str]:
    """Names of feature maps by the position of the layer that makes them: ``c3`` is the last of stride 2³.

    The head begins at the pool, or at the 1×1 convolution before it. Source of the names: Lin et al. 2017.

    Raises:
        InputError: the network has no pool, or fewer than two maps.
    """
    layers = subnet.space.layers(subnet.genes)
    ends = [position for position, layer in enumerate(layers) if isinstance(layer, GlobalPool)]
    body = layers[: ends[0]] if ends else []
    if body and isinstance(body[-1], Conv) and body[-1].kernel == 1:
        body = body[:-1]
    last: dict[int, int] = {}
    level = 0
    for position, layer in enumerate(body):
        level += (getattr(layer, "stride", 1)).bit_length() - 1
        last[level] = position
    found = {position: f"c{level}" for level, position in last.items() if level >= FIRST_LEVEL}
    if len(found) < 2:
        raise InputError(f"{subnet.space.name}: no backbone: {len(found)} feature maps before its head")
    return found


def backbone_graph(subnet: Subnet, maps: Mapping[int, str]) -> Graph:
    """The op-level graph up to the last of the maps, all of them its outputs, with this network's weights."""
    layers = subnet.space.layers(subnet.genes)[: max(maps) + 1]
    weights = [cast(LayerModule, block).folded() for block in subnet.blocks]
    graphs = [lower(layer, own) for layer, own in zip(layers, weights, strict=False)]
    return join(f"{subnet.space.name}-backbone", graphs, maps)


@torch.no_grad()
def run_backbone(subnet: Subnet, images: Tensor, maps: Mapping[int, str]) -> dict[str, Tensor]:
    """The maps by name, ``(n, c, h, w)``, of images ``(n, 3, r, r)``."""
    found: dict[str, Tensor] = {}
    for position, block in enumerate(subnet.blocks[: max(maps) + 1]):
        images = block(images)
        if position in maps:
            found[maps[position]] = images
    return found
