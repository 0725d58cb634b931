"""Which networks a table measures beside its layers: a designed set to calibrate on, random ones to be judged by.

Isolated layers do not add up to a network, so some networks are measured too. Those for calibration are chosen to
cover the layers; those for validation are drawn at random and no fit sees them, and some more are drawn at input
sizes between those that layers are measured at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.exporters.graph import Graph
from netdyno.profiler.cost.cost import GeneSpace, layer_counts
from netdyno.profiler.layers import Layer
from netdyno.profiler.lower import Weights, random_weights
from netdyno.profiler.table import format_genes

CALIBRATION, VALIDATION, BETWEEN = "calibration", "validation", "between"
POOL = 1000
"""Random architectures among which the designed set is chosen."""
FAINT = 1e-9


class NetworkSpace(GeneSpace, Protocol):
    """What a plan needs to know of a search space."""

    def smallest(self) -> NDArray[np.int64]:
        """The architecture ``(genes,)`` that costs least."""

    def largest(self) -> NDArray[np.int64]:
        """The architecture ``(genes,)`` that costs most."""

    def canonical(self, X: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same architectures with inactive genes zeroed."""

    def layers(self, genes: NDArray[np.int64]) -> Sequence[Layer]:
        """The layers of one architecture in execution order."""

    def graph(self, genes: NDArray[np.int64], weights: Sequence[Weights] | None = None) -> Graph:
        """The op-level graph of one architecture, with one mapping of weights a layer."""

    def between(self) -> NetworkSpace | None:
        """The same space at input sizes between its own, if there are such."""


@dataclass(frozen=True)
class Networks:
    """How many whole networks to measure beside the layers; ``between``: at input sizes that layers are not.

    Raises:
        InputError: a negative number.
    """

    calibration: int = 20
    validation: int = 40
    between: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.calibration, self.validation, self.between) < 0:
            raise InputError("there cannot be fewer than no networks")


NO_NETWORKS = Networks(0, 0, 0)


@dataclass(frozen=True)
class Group:
    """Networks of one purpose: architectures ``X (n, genes)`` of a space, and the names of their rows."""

    role: str
    space: NetworkSpace
    X: NDArray[np.int64]

    def names(self) -> list[str]:
        """Genes as text; behind them ``@176`` where the space is that of other sizes than the table's."""
        ids = self.space.layer_ids(self.X)[:, 0].tolist()
        sizes = [self.space.vocabulary()[i].input_shape[-1] for i in ids]
        names = [format_genes(genes) for genes in self.X]
        return [f"{name}@{size}" if self.role == BETWEEN else name for name, size in zip(names, sizes, strict=True)]

    def graphs(self) -> Iterator[Callable[[], Graph]]:
        """What makes the graph of each; layers that occur again have the weights they had."""
        weights = cache(random_weights)
        for genes in self.X:
            yield partial(self._graph, genes, weights)

    def _graph(self, genes: NDArray[np.int64], weights: Callable[[Layer], Weights]) -> Graph:
        return self.space.graph(genes, [weights(layer) for layer in self.space.layers(genes)])


def make_plan(space: NetworkSpace, networks: Networks) -> list[Group]:
    """The networks to measure; a small space gives fewer than asked for, and those to calibrate on first."""
    plan = []
    generator = np.random.default_rng([networks.seed, 1])
    if networks.calibration + networks.validation:
        drawn = np.concatenate([[space.smallest(), space.largest()], space.sample(POOL, generator)])
        pool = np.unique(space.canonical(drawn), axis=0)
        features = layer_counts(space, pool) * _importance(space)
        sizes = np.linalg.norm(features, axis=1, keepdims=True)  # errors count relative to the network's cost
        chosen = cover(features / sizes, networks.calibration)
        rest = generator.permutation(np.delete(pool, chosen, axis=0))
        plan = [Group(CALIBRATION, space, pool[chosen]), Group(VALIDATION, space, rest[: networks.validation])]
    if networks.between and (other := space.between()) is not None:
        plan.append(Group(BETWEEN, other, other.canonical(other.sample(networks.between, generator))))
    return plan


def cover(features: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Rows of ``features (pool, k)`` that cover them: each the one that those before it say least about.

    That is the greedy D-optimal design, a pivoted Cholesky factorisation of the rows' Gram matrix. It ends where
    the rows so far explain all others.
    """
    left = features.copy()
    chosen: list[int] = []
    for _ in range(min(n, len(features))):
        sizes = (left**2).sum(axis=1)
        sizes[chosen] = 0.0
        best = int(sizes.argmax())
        if sizes[best] <= FAINT * (features**2).sum(axis=1).max():
            break
        axis = left[best] / np.sqrt(sizes[best])
        left -= np.outer(left @ axis, axis)
        chosen.append(best)
    return np.array(chosen, np.int64)


def _importance(space: NetworkSpace) -> NDArray[np.float64]:
    """How much of a network's cost a layer may be, before anything is measured: the root of its MACs.

    The root, because small layers move data and call operators, which MACs do not count.
    """
    macs = np.array([layer.macs for layer in space.vocabulary()], np.float64)
    importance: NDArray[np.float64] = np.sqrt(macs + macs.mean() / 10)
    return importance
