"""The multi-path formulations: a block of its own for each option of each layer, mixed by trained scores.

``softmax`` adds all blocks up with their chances (DARTS, Liu et al. 2019), ``gumbel`` with chances that a draw has
sharpened (FBNet, Wu et al. 2019), and ``sampled`` runs one drawn block, or two of which one counts where the scores
learn (ProxylessNAS, Cai et al. 2019, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from netdyno.base.errors import UnknownName
from netdyno.nas.search.differentiable.relaxation import Relaxation
from netdyno.nas.search.differentiable.runtime import flat
from netdyno.nas.search.differentiable.single_path import OptionScores
from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import LAYERS, Place, SinglePath
from netdyno.nas.supernets.modules import make_module
from netdyno.nas.supernets.single_path import OPENING
from netdyno.nas.supernets.supernet import initialise

MIXES = ("softmax", "gumbel", "sampled")
PATHS = 2
"""Blocks that are drawn for a layer where paths are sampled."""


class MultiPath(Relaxation):
    """A network with every option of every layer as a block of its own.

    Raises:
        UnknownName: no such way to mix.
    """

    bilevel = True

    def __init__(
        self, space: SinglePath, runtime: Callable[[Tensor], Tensor], mix: str = "softmax", temperature: float = 1.0
    ) -> None:
        super().__init__()
        if mix not in MIXES:
            raise UnknownName("way to mix paths", mix, MIXES)
        self.space, self.mix, self.temperature = space, mix, temperature
        self.formulation = f"multi-path-{mix}"
        fixed = space.layers(space.largest())
        self.opening = nn.Sequential(*map(make_module, fixed[:OPENING]))
        self.searched = nn.ModuleList(self._blocks(place) for place in space.places)
        self.closing = nn.Sequential(*map(make_module, fixed[OPENING + LAYERS :]))
        self.scores = OptionScores(space)
        self.runtime = runtime
        self.apply(initialise)

    def _blocks(self, place: Place) -> nn.ModuleList:
        blocks: list[nn.Module] = [make_module(place.layer(option)) for option in self.space.options]
        return nn.ModuleList([*blocks, nn.Identity()] if place.skips else blocks)

    def forward(self, x: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Logits and expected runtime; blocks of their own need no ``dropout``."""
        shares, running = self._draw()
        x = self.opening(x)
        for blocks, row, run in zip(self.searched, shares, running, strict=True):
            assert isinstance(blocks, nn.ModuleList)
            x = torch.stack([row[option] * blocks[option](x) for option in run]).sum(0)
        chances = shares if self.mix == "gumbel" else self.scores().softmax(1)
        return self.closing(x), self.runtime(flat(chances, self.space))[0]

    def _draw(self) -> tuple[Tensor, list[list[int]]]:
        """What each block counts, ``(layers, options + 1)``, and which blocks of each layer run."""
        scores = self.scores()
        every = [list(range(options)) for options in self.space.cardinalities.tolist()]
        if self.mix == "softmax":
            return scores.softmax(1), every
        if self.mix == "gumbel":
            return F.gumbel_softmax(scores, self.temperature, dim=1), every
        if not scores.requires_grad:  # the weights learn from one path
            drawn = torch.multinomial(scores.softmax(1), 1)
            return torch.zeros_like(scores).scatter(1, drawn, 1.0), drawn.tolist()
        drawn = torch.multinomial(scores.detach().softmax(1), PATHS)
        chances = scores.gather(1, drawn).softmax(1)
        first = torch.zeros_like(chances).scatter(1, torch.multinomial(chances.detach(), 1), 1.0)
        counts = first + chances - chances.detach()  # one of the two, with the gradient of both chances
        return torch.zeros_like(scores).scatter(1, drawn, counts), drawn.tolist()

    def architecture(self) -> list[nn.Parameter]:
        """The options' scores."""
        return [self.scores.values]

    def genes(self) -> Population:
        """The option of the best score, layer by layer."""
        return self.scores.best()

    def reluctance(self) -> NDArray[np.float64]:
        """How much lower a score is than the best."""
        return self.scores.behind()

    def leads(self) -> dict[str, NDArray[np.float64]]:
        """Scores, option by option, less their layer's mean."""
        return self.scores.leads(self.space)
