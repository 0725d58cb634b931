"""A cost that gradients pass through: the expectation over independently drawn genes.

Of a cost that adds up over slots, the expectation is exact: a slot's layer depends on few genes, so its mean is a sum
over their options, each weighted with the product of the probabilities. At one-hot probabilities it is the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.registry import require
from netdyno.profiler.cost.cost import Floats, GeneSpace, LayerCost

PROBES = 64
"""Random architectures in which each gene is tried for an effect on each slot."""
CHECKED = 256
MOST_COMBINATIONS = 1_000_000


@dataclass(frozen=True)
class Slot:
    """What a slot costs: ``costs`` has an axis for each of ``genes``, of as many options."""

    genes: tuple[int, ...]
    costs: Floats


def slot_tables(cost: LayerCost, space: GeneSpace) -> tuple[float, list[Slot]]:
    """What a network costs once, and each slot's cost by the genes that it depends on.

    Raises:
        InputError: the cost does not add up, or a slot depends on too many genes.
    """
    each = enumerate(_dependencies(cost, space))
    slots = [Slot(genes, _tabulate(cost, space, number, genes)) for number, genes in each]
    once = cost.once
    X = space.sample(CHECKED, 1)
    total = once + sum((slot.costs[tuple(X[:, gene] for gene in slot.genes)] for slot in slots), np.zeros(len(X)))
    if not np.allclose(total, cost(X), rtol=1e-9):
        raise InputError(f"{cost.name} does not add up over layers, so it has no expectation over genes")
    return once, [slot for slot in slots if slot.costs.any()]


def _dependencies(cost: LayerCost, space: GeneSpace) -> list[tuple[int, ...]]:
    """The genes that each slot's cost depends on."""
    X = space.sample(PROBES, 0)
    costs = cost.slot_costs(X)
    matters = np.zeros((costs.shape[1], X.shape[1]), np.bool_)
    for gene, options in enumerate(space.cardinalities.tolist()):
        for option in range(options):
            changed = X.copy()
            changed[:, gene] = option
            matters[:, gene] |= (cost.slot_costs(changed) != costs).any(axis=0)
    return [tuple(np.flatnonzero(row).tolist()) for row in matters]


def _tabulate(cost: LayerCost, space: GeneSpace, slot: int, genes: Sequence[int]) -> Floats:
    shape = tuple(space.cardinalities[list(genes)].tolist())
    count = int(np.prod(shape))
    if count > MOST_COMBINATIONS:
        raise InputError(f"{space.name}: a layer depends on {len(genes)} genes, in {count} combinations")
    X: NDArray[np.int64] = np.zeros((count, len(space.cardinalities)), np.int64)
    if genes:
        X[:, list(genes)] = np.indices(shape).reshape(len(genes), -1).T
    costs: Floats = cost.slot_costs(X)[:, slot].reshape(shape)
    return costs


def relax(cost: LayerCost, space: GeneSpace) -> Any:
    """A torch module: probabilities of options ``(n, sum of cardinalities)``, gene by gene, to ``(n,)``.

    Raises:
        MissingExtra: torch is not installed.
        InputError: the cost does not add up over layers.
    """
    torch = require("torch", extra="train", purpose="a differentiable cost")
    once, slots = slot_tables(cost, space)
    widths = space.cardinalities.tolist()

    class RelaxedCost(torch.nn.Module):  # type: ignore[misc, name-defined]
        """The expectation of a table's cost."""

        def __init__(self) -> None:
            super().__init__()
            for number, slot in enumerate(slots):
                self.register_buffer(f"slot{number}", torch.from_numpy(slot.costs.ravel()))

        def forward(self, probabilities: Any) -> Any:
            by_gene = probabilities.split(widths, dim=1)
            total = probabilities.new_full((len(probabilities),), once)
            for number, slot in enumerate(slots):
                joint = probabilities.new_ones((len(probabilities), 1))
                for gene in slot.genes:
                    joint = (joint[:, :, None] * by_gene[gene][:, None, :]).flatten(1)
                total = total + joint @ self.get_buffer(f"slot{number}").to(joint)
            return total

    return RelaxedCost()
