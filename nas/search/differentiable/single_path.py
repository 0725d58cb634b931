"""The single-path formulations: one superkernel a layer, its gates trained.

Source: Stamoulis et al. 2019, section 3; Stamoulis 2020, section 6.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netdyno.nas.search.differentiable.relaxation import Relaxation
from netdyno.nas.search.differentiable.runtime import flat
from netdyno.nas.search.differentiable.thresholds import Thresholds
from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import EXPANSIONS, KERNELS, SKIP, SinglePath
from netdyno.nas.supernets.single_path import SinglePathSupernet
from netdyno.nas.supernets.superkernel import Gates

GateRuntime = Callable[[Sequence[Gates]], Tensor]
"""The gates of each layer to a scalar, see :mod:`netdyno.nas.search.differentiable.runtime`."""


class GatedPath(Relaxation):
    """Gates by thresholds on norms: ``hard`` with the sigmoid's gradient, as in Single-Path NAS, or the sigmoid."""

    bilevel = False

    def __init__(self, supernet: SinglePathSupernet, runtime: GateRuntime, *, hard: bool = True) -> None:
        super().__init__()
        self.space = supernet.space
        self.formulation = "single-path" if hard else "single-path-sigmoid"
        self.supernet = supernet
        self.thresholds = Thresholds(supernet, hard=hard)
        self.runtime = runtime

    def forward(self, x: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Logits and runtime; raises as :class:`Relaxation` says."""
        gates = self.thresholds(self.supernet)
        return self.supernet.between(x, drop(gates, self.space, dropout)), self.runtime(gates)

    def settle(self) -> None:
        """Keep thresholds within reach of their norms."""
        self.thresholds.rein(self.supernet)

    def architecture(self) -> list[nn.Parameter]:
        """The thresholds."""
        return [self.thresholds.values]

    @torch.no_grad()
    def genes(self) -> Population:
        """What stands above its threshold."""
        gates = self.thresholds(self.supernet)
        return decide(torch.stack([torch.stack(list(own)) for own in gates]) > 0.5, self.space)

    @torch.no_grad()
    def reluctance(self) -> NDArray[np.float64]:
        """The distance to thresholds that would have to be crossed, in sum."""
        return crossings(self._margins(), self.space)

    def leads(self) -> dict[str, NDArray[np.float64]]:
        """How far norms are above their thresholds, gate by gate; not a number where there is no gate."""
        margins, shown = self._margins(), len(Gates._fields) if len(self.space.ratios) > 1 else 3
        margins[[not place.skips for place in self.space.places], Gates._fields.index("e3")] = np.nan
        return dict(zip(Gates._fields[:shown], margins.T, strict=False))

    @torch.no_grad()
    def _margins(self) -> NDArray[np.float64]:
        margins: NDArray[np.float64] = self.thresholds.margins(self.supernet).double().numpy()
        return margins


class SoftmaxPath(Relaxation):
    """One superkernel whose parts count as often as a softmax over the options has them (Stamoulis 2020, Eq. 6.1)."""

    bilevel = True
    formulation = "single-path-softmax"

    def __init__(self, supernet: SinglePathSupernet, runtime: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.space = supernet.space
        self.supernet = supernet
        self.scores = OptionScores(supernet.space)
        self.runtime = runtime

    def forward(self, x: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        """Logits and runtime; raises as :class:`Relaxation` says."""
        chances = self.scores().softmax(1)
        gates = marginals(chances, self.space)
        logits = self.supernet.between(x, drop(gates, self.space, dropout))
        return logits, self.runtime(flat(chances, self.space))[0]

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


class OptionScores(nn.Module):
    """A trained score for each option of each layer, ``values (layers, options + 1)``; the skip is last."""

    def __init__(self, space: SinglePath) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(len(space.places), len(space.options) + 1))
        there = torch.arange(len(space.options) + 1) < torch.from_numpy(space.cardinalities)[:, None]
        self.register_buffer("there", there, persistent=False)

    def forward(self) -> Tensor:
        """Scores ``(layers, options + 1)``; what a layer does not have is −∞."""
        return self.values.masked_fill(~self.get_buffer("there"), -torch.inf)

    @torch.no_grad()
    def best(self) -> Population:
        """The option of the best score of each layer, ``(layers,)``."""
        found: Population = self().argmax(1).numpy().astype(np.int64)
        return found

    @torch.no_grad()
    def behind(self) -> NDArray[np.float64]:
        """How much lower each score is than its layer's best, ``(layers, options + 1)``; ∞ for no option."""
        scores = self().double()
        found: NDArray[np.float64] = (scores.max(1, keepdim=True).values - scores).numpy()
        return found

    @torch.no_grad()
    def leads(self, space: SinglePath) -> dict[str, NDArray[np.float64]]:
        """Scores by option, each less its layer's mean, ``(layers,)``; not a number where there is no option."""
        scores = self.values.double().masked_fill(~self.get_buffer("there"), torch.nan)
        names = [*(option.name for option in space.options), SKIP]
        return dict(zip(names, (scores - scores.nanmean(1, keepdim=True)).T.numpy(), strict=True))


def marginals(chances: Tensor, space: SinglePath) -> list[Gates]:
    """Gates that are open as often as options with ``chances (layers, options + 1)`` have their parts.

    Each within what the one before it leaves: of the layers that are not skipped, and of those that excite.
    """
    kept = chances[:, :-1]
    e3 = kept.sum(1)

    def share(of: Tensor, among: Tensor) -> Tensor:
        return of / among.clamp_min(torch.finfo(of.dtype).tiny)

    def having(*positions: bool) -> Tensor:
        return kept[:, list(positions)].sum(1)

    k5 = share(having(*(o.kernel == max(KERNELS) for o in space.options)), e3)
    e6 = share(having(*(o.expansion == max(EXPANSIONS) for o in space.options)), e3)
    excited = having(*(o.se > 0 for o in space.options))
    se50 = share(having(*(o.se > 0.25 for o in space.options)), excited)
    return [Gates(*row) for row in torch.stack([k5, e3, e6, share(excited, e3), se50], dim=1)]


def drop(gates: Sequence[Gates], space: SinglePath, rate: float) -> list[Gates]:
    """The gates, each shut with a probability: what lies inside learns to do without what lies outside."""
    if not rate:
        return list(gates)
    stays = (torch.rand(len(gates), len(Gates._fields)) >= rate).to(gates[0].k5)
    stays[[not place.skips for place in space.places], Gates._fields.index("e3")] = 1.0
    return [
        Gates(*(gate * keep for gate, keep in zip(own, row, strict=True)))
        for own, row in zip(gates, stays, strict=True)
    ]


def crossings(margins: NDArray[np.float64], space: SinglePath) -> NDArray[np.float64]:
    """By how much gates at ``margins (layers, gates)`` above their thresholds miss each option, in sum.

    ``(layers, options + 1)``, the skip last; what does not matter to an option, as a skipped layer's kernel, misses
    nothing.
    """
    k5, e3, e6, se25, se50 = range(len(Gates._fields))
    missed = np.empty((len(margins), len(space.options) + 1))
    for position, option in enumerate(space.options):
        wanted = {k5: option.kernel == max(KERNELS), e3: True, e6: option.expansion == max(EXPANSIONS)}
        if len(space.ratios) > 1:
            wanted[se25] = option.se > 0
        if option.se:
            wanted[se50] = option.se > space.ratios[1]
        off = [np.maximum(-margins[:, gate] if open_ else margins[:, gate], 0) for gate, open_ in wanted.items()]
        missed[:, position] = np.sum(off, axis=0)
    missed[:, -1] = np.where([place.skips for place in space.places], np.maximum(margins[:, e3], 0), np.inf)
    return missed


def decide(open_: Tensor, space: SinglePath) -> Population:
    """The architecture ``(layers,)`` of gates that are open or not, ``(layers, gates)`` of bool."""
    known = {(o.kernel, o.expansion, o.se): position for position, o in enumerate(space.options)}
    genes = []
    for k5, e3, e6, se25, se50 in open_.tolist():
        ratio = (0.5 if se50 else 0.25) if se25 else 0.0
        genes.append(known[KERNELS[k5], EXPANSIONS[e6], ratio] if e3 else len(space.options))
    return np.array(genes, np.int64)
