"""Gates that training opens and closes: a part of a superkernel is there while its norm is above a threshold.

Source: Stamoulis et al. 2019, Eq. 2–6; Stamoulis 2020, Eq. 5.2–5.5, 6.3, 6.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from netdyno.nas.supernets.single_path import SinglePathSupernet
from netdyno.nas.supernets.superkernel import Gates

GATES = {name: position for position, name in enumerate(Gates._fields)}


REACH = 0.3
"""How far a threshold may be from its norm."""


class Indicator(torch.autograd.Function):
    """1 where the argument is positive, else 0; its gradient is the sigmoid's."""

    @staticmethod
    def forward(ctx: Any, margin: Tensor) -> Tensor:
        """``margin`` of any shape to zeros and ones."""
        ctx.save_for_backward(margin)
        return (margin > 0).to(margin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Through the sigmoid's derivative."""
        (margin,) = ctx.saved_tensors
        soft = torch.sigmoid(margin)
        return gradients[0] * soft * (1 - soft)


class Thresholds(nn.Module):
    """The trained thresholds of a supernet's gates, ``values (layers, gates)``, all zero at first: gates are open.

    A norm is the square of the weights' Euclidean norm, in units of what it is when this is made. ``hard`` gates are
    0 or 1 with the sigmoid's gradient, others the sigmoid itself.
    """

    def __init__(self, supernet: SinglePathSupernet, *, hard: bool = True) -> None:
        super().__init__()
        self.hard = hard
        layers = len(supernet.superkernels)
        self.values = nn.Parameter(torch.zeros(layers, len(GATES)))
        self.register_buffer("units", torch.ones(layers, len(GATES)))
        self.get_buffer("units").copy_(self.margins(supernet))

    def forward(self, supernet: SinglePathSupernet) -> list[Gates]:
        """The gates of each searched layer."""
        return self._decide(supernet, lambda margin, _, __: self._gate(margin))

    @torch.no_grad()
    def margins(self, supernet: SinglePathSupernet) -> Tensor:
        """How far each norm is above its threshold, ``(layers, gates)``; 1 for what is no part of a layer."""
        found = torch.ones_like(self.values)

        def note(margin: Tensor, layer: int, gate: int) -> Tensor:
            found[layer, gate] = margin
            return self._gate(margin)

        self._decide(supernet, note)
        return found

    def _gate(self, margin: Tensor) -> Tensor:
        gate: Tensor = Indicator.apply(margin) if self.hard else torch.sigmoid(margin)  # type: ignore[no-untyped-call]
        return gate

    @torch.no_grad()
    def rein(self, supernet: SinglePathSupernet) -> None:
        """Keep each threshold within reach of what stands against it: one that ran far would not come back."""
        norms = self.margins(supernet) + self.values
        self.values.clamp_(norms - REACH, norms + REACH)

    def _decide(self, supernet: SinglePathSupernet, gate: Callable[[Tensor, int, int], Tensor]) -> list[Gates]:
        units, found = self.get_buffer("units"), []
        for layer, superkernel in enumerate(supernet.superkernels):

            def decide(name: str, part: Tensor, layer: int = layer) -> Tensor:
                where = (layer, GATES[name])
                return gate(part.square().sum() / units[where] - self.values[where], *where)

            found.append(superkernel.decide(decide))
        return found
