"""The runtime of what gates leave, so that it can stand in a loss: exactly, or as the paper writes it.

Source: Stamoulis et al. 2019, Eq. 7–9; Stamoulis 2020, Eq. 5.7–5.10, 6.5–6.8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netdyno.base.errors import InputError
from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import EXPANSIONS, KERNELS, SinglePath, SinglePathPlus
from netdyno.nas.supernets.superkernel import Gates
from netdyno.profiler.cost.cost import LayerCost
from netdyno.profiler.cost.relaxed import slot_tables


def probabilities(gates: Sequence[Gates], space: SinglePath) -> Tensor:
    """Of each option of each layer, ``(1, sum of cardinalities)``, were the gates drawn independently."""
    k5, e3, e6, se25, se50 = (torch.stack(column) for column in zip(*gates, strict=True))
    kernels = dict(zip(KERNELS, (1 - k5, k5), strict=True))
    expansions = dict(zip(EXPANSIONS, (1 - e6, e6), strict=True))
    ratios = dict(zip(SinglePathPlus.ratios, (1 - se25, se25 * (1 - se50), se25 * se50), strict=True))
    chosen = [e3 * kernels[o.kernel] * expansions[o.expansion] * ratios[o.se] for o in space.options]
    return flat(torch.stack([*chosen, 1 - e3], dim=1), space)


def flat(chances: Tensor, space: SinglePath) -> Tensor:
    """``(layers, options + 1)`` without the skip where there is none, ``(1, sum of cardinalities)``."""
    return torch.cat([row[:n] for row, n in zip(chances, space.cardinalities.tolist(), strict=True)])[None]


class ExactRuntime(nn.Module):
    """The table's cost of what gates leave, multilinear in them: at gates of 0 and 1 it is the table."""

    def __init__(self, cost: LayerCost, space: SinglePath) -> None:
        super().__init__()
        self.space = space
        self.relaxed = cost.torch()

    def forward(self, gates: Sequence[Gates]) -> Tensor:
        """The gates of each searched layer to a scalar."""
        runtime: Tensor = self.relaxed(probabilities(gates, self.space))[0]
        return runtime


class PaperRuntime(nn.Module):
    """The published form: what kernel 3 takes of kernel 5 is one ratio a layer, that of the largest expansion.

    At gates of 0 and 1 it is the table but for kernel 3 with expansion 3; of the published Pixel 1 model that is up
    to 0.21 ms a layer, and from -0.41 to +0.35 ms a network. Squeeze-and-excitation adds what it takes beside the
    largest kernel and expansion; that there is any hangs on the inner part, not on the outer one as in Eq. 6.8.

    Raises:
        InputError: a layer's cost depends on more than the layer.
    """

    def __init__(self, cost: LayerCost, space: SinglePath) -> None:
        super().__init__()
        self.once, table = option_costs(cost, space)
        names = {(o.kernel, o.expansion, o.se): position for position, o in enumerate(space.options)}
        columns = {f"r{k}_{e}": table[:, names[k, e, 0.0]] for k, e in ((3, 6), (5, 3), (5, 6))}
        largest = max(KERNELS), max(EXPANSIONS)
        for ratio in space.ratios[1:]:
            columns[f"se{ratio * 100:.0f}"] = table[:, names[*largest, ratio]] - table[:, names[*largest, 0.0]]
        columns["skip"] = np.where([place.skips for place in space.places], table[:, -1], 0.0)
        for name, column in columns.items():
            self.register_buffer(name, torch.from_numpy(column))

    def forward(self, gates: Sequence[Gates]) -> Tensor:
        """The gates of each searched layer to a scalar."""
        k5, e3, e6, se25, se50 = (torch.stack(column) for column in zip(*gates, strict=True))
        narrow, wide = self.get_buffer("r5_3").to(k5), self.get_buffer("r5_6").to(k5)
        expanded = narrow + e6 * (wide - narrow)
        ratio = self.get_buffer("r3_6").to(k5) / wide
        runtime = ratio * expanded + k5 * (1 - ratio) * expanded
        if hasattr(self, "se25"):
            inner, outer = self.get_buffer("se25").to(k5), self.get_buffer("se50").to(k5)
            runtime = runtime + se25 * (inner + se50 * (outer - inner))
        skipped = (1 - e3) * self.get_buffer("skip").to(k5)
        return self.once + (e3 * runtime + skipped).sum()


def fastest(cost: LayerCost, space: SinglePath) -> Population:
    """The architecture ``(layers,)`` that costs least; raises as :func:`option_costs` does."""
    table = option_costs(cost, space)[1]
    absent = np.arange(table.shape[1]) >= space.cardinalities[:, None]
    found: Population = np.where(absent, np.inf, table).argmin(axis=1)
    return found


def option_costs(cost: LayerCost, space: SinglePath) -> tuple[float, NDArray[np.float64]]:
    """What every network costs, and what each layer adds by its option, ``(layers, options + 1)``; the skip is last.

    Raises:
        InputError: a layer's cost depends on more than the layer.
    """
    once, slots = slot_tables(cost, space)
    table = np.zeros((len(space.places), len(space.options) + 1))
    for slot in slots:
        match slot.genes:
            case ():
                once += float(slot.costs)
            case (gene,):
                table[gene, : len(slot.costs)] += slot.costs
            case _:
                raise InputError(f"{cost.name}: a layer's cost depends on several of {space.name}'s genes")
    return once, table
