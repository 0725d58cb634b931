"""The supernet of the Single-Path spaces: a superkernel for each searched layer, plain layers around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import LAYERS, Option, SinglePath
from netdyno.nas.supernets.modules import MBConvModule, make_module
from netdyno.nas.supernets.subnet import Subnet
from netdyno.nas.supernets.superkernel import Gates, Superkernel
from netdyno.nas.supernets.supernet import Supernet, initialise

OPENING = 2
"""Stem and first block stand before the searched layers."""


class SinglePathSupernet(Supernet):
    """Every subnet of a :class:`SinglePath` space in one set of weights."""

    space: SinglePath

    def __init__(self, space: SinglePath) -> None:
        super().__init__()
        self.space = space
        fixed = space.layers(space.largest())
        self.opening = nn.Sequential(*map(make_module, fixed[:OPENING]))
        self.searched = nn.ModuleList(Superkernel(place, space.options) for place in space.places)
        self.closing = nn.Sequential(*map(make_module, fixed[OPENING + LAYERS :]))
        self.apply(initialise)
        for superkernel in self.superkernels:
            superkernel.start_empty()

    @property
    def superkernels(self) -> list[Superkernel]:
        """The searched layers in execution order."""
        return [cast(Superkernel, layer) for layer in self.searched]

    def options(self, genes: Population) -> list[Option | None]:
        """What each searched layer of an architecture ``(20,)`` is; None is the skip."""
        known = [*self.space.options, None]
        return [known[gene] for gene in self.space.check(genes)[0]]

    def forward(self, x: Tensor, genes: Population) -> Tensor:
        """Logits ``(n, classes)`` of images ``(n, 3, r, r)`` by one architecture ``(20,)``."""
        x = self.opening(x)
        for superkernel, option in zip(self.superkernels, self.options(genes), strict=True):
            x = superkernel.choose(x, option)
        logits: Tensor = self.closing(x)
        return logits

    def between(self, x: Tensor, gates: Sequence[Gates]) -> Tensor:
        """Logits ``(n, classes)`` of images ``(n, 3, r, r)``, all options at once between the gates of each layer."""
        x = self.opening(x)
        for superkernel, own in zip(self.superkernels, gates, strict=True):
            x = superkernel.between(x, own)
        logits: Tensor = self.closing(x)
        return logits

    def copy_to(self, subnet: Subnet) -> None:
        """Copy the weights that a plain network of this space uses into it."""
        chosen = [
            (superkernel, option)
            for superkernel, option in zip(self.superkernels, self.options(subnet.genes), strict=True)
            if option is not None
        ]
        searched = subnet.blocks[OPENING : OPENING + len(chosen)]
        for (superkernel, option), module in zip(chosen, searched, strict=True):
            superkernel.copy_to(cast(MBConvModule, module), superkernel.place.layer(option))
        fixed = [*subnet.blocks[:OPENING], *subnet.blocks[OPENING + len(chosen) :]]
        for source, target in zip([*self.opening, *self.closing], fixed, strict=True):
            target.load_state_dict(source.state_dict())
