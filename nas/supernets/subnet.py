"""Subnets: plain torch modules, one submodule for each layer of an architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netdyno.exporters.graph import Graph
from netdyno.nas.space import Population, Space
from netdyno.nas.supernets.modules import LayerModule, make_module

CALIBRATION_IMAGES = 512


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
