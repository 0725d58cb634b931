"""What every cost model is, and what it needs to know of a search space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.objective import Optimisable
from netdyno.profiler.layers import Layer

Floats = NDArray[np.float64]
CHUNK = 4096
"""Architectures taken at a time where an array grows with layers times architectures."""


class LayeredSpace(Protocol):
    """What a cost needs to know of a search space."""

    name: str

    def vocabulary(self) -> Sequence[Layer]:
        """Every layer once."""

    def layer_ids(self, X: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(n, slots)`` positions in the vocabulary in execution order, −1 where empty."""


class GeneSpace(LayeredSpace, Protocol):
    """What a fitted cost needs to know of a search space."""

    def check(self, X: Any) -> NDArray[np.int64]:
        """``X`` as a population ``(n, genes)`` of this space."""

    def features(self, X: NDArray[np.int64]) -> Floats:
        """Masked one-hot encoding ``(n, features)``."""

    def option_counts(self, X: NDArray[np.int64]) -> Floats:
        """How many active genes take each option, ``(n, options)``."""

    @property
    def cardinalities(self) -> NDArray[np.int64]:
        """Options per gene, ``(genes,)``."""

    def sample(self, n: int, seed: int | np.random.Generator) -> NDArray[np.int64]:
        """``n`` random architectures."""

    def structure(self, X: NDArray[np.int64]) -> Floats:
        """Structural hyperparameters, ``(n, columns)``: values of active genes, one-hot where they are names."""


class Cost(Optimisable):
    """A cost with an interval, vectorised over populations; ``name`` is the metric with its unit."""

    @abstractmethod
    def interval(self, X: NDArray[np.int64]) -> Floats:
        """95 % interval of a measurement, ``(n, 2)``."""

    def torch(self) -> Any:
        """A torch module from probabilities of options, ``(n, sum of cardinalities)``, to the expected cost ``(n,)``.

        Raises:
            MissingExtra: torch is not installed.
            InputError: the cost does not add up over layers.
        """
        raise InputError(f"{self.name} has no gradients here: it is not made up of the costs of layers")


class LayerCost(Cost):
    """A cost that is made up of the costs of layers; ``once`` is what a network costs beside them."""

    space: GeneSpace
    once: float

    @abstractmethod
    def slot_costs(self, X: NDArray[np.int64]) -> Floats:
        """What each slot adds, ``(n, slots)``; corrections may make it negative."""

    def layer_costs(self, X: NDArray[np.int64]) -> Floats:
        """What each slot contributes, ``(n, slots)``, for people: never less than nothing."""
        costs: Floats = np.maximum(self.slot_costs(X), 0.0)
        return costs

    def torch(self) -> Any:
        """The expected cost as a torch module; see :meth:`Cost.torch`."""
        from netdyno.profiler.cost.relaxed import relax

        return relax(self, self.space)


def layer_counts(space: LayeredSpace, X: NDArray[np.int64]) -> Floats:
    """How often each architecture has each layer of the vocabulary, ``(n, vocabulary)``."""
    ids = space.layer_ids(X)
    counts = np.zeros((len(ids), len(space.vocabulary()) + 1))
    np.add.at(counts, (np.arange(len(ids))[:, None], ids), 1.0)  # −1, an empty slot, is the last column
    return counts[:, :-1]
