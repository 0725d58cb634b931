"""What every differentiable formulation is: weights and an architecture that are trained together."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import SinglePath


class Relaxation(nn.Module):
    """A network whose architecture has gradients.

    ``formulation`` is its name. Where it is ``bilevel``, the architecture learns from images that the weights do not,
    as DARTS and FBNet have it.
    """

    space: SinglePath
    formulation: str
    bilevel: bool

    @abstractmethod
    def forward(self, x: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Logits ``(n, classes)`` of images ``(n, 3, r, r)``, and the runtime of what gave them, a scalar.

        ``dropout`` is the probability that a part of a layer is left out (kernel-subset dropout).
        """

    @abstractmethod
    def architecture(self) -> list[nn.Parameter]:
        """What the architecture is read from; all other parameters are weights."""

    @abstractmethod
    def genes(self) -> Population:
        """The architecture ``(genes,)`` as it stands."""

    @abstractmethod
    def reluctance(self) -> NDArray[np.float64]:
        """How far each option is from being taken, ``(layers, options + 1)``: 0 for those that are, ∞ for none."""

    @abstractmethod
    def leads(self) -> dict[str, NDArray[np.float64]]:
        """What the architecture is read from, ``(layers,)`` by name: how far each part is ahead of being left out."""

    def settle(self) -> None:
        """What is to be done after each step of the architecture."""

    def weights(self) -> list[nn.Parameter]:
        """Everything that is trained but the architecture."""
        own = {id(parameter) for parameter in self.architecture()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]
