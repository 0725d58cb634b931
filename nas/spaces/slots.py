"""Spaces that are a row of slots in execution order: a fixed layer each, or the one that genes choose."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas.space import Population, Space
from netdyno.profiler.layers import Layer

MOST_CLASSES = 100_000
LARGEST_WIDTH = 16
SMALLEST_RESOLUTION, LARGEST_RESOLUTION = 32, 1024


@dataclass(frozen=True)
class Slot:
    """The layers of its ``genes``' options, None where there is no layer; without genes the one that is there.

    With several genes they are in the order of a nested loop, the last gene's options fastest.
    """

    layers: tuple[Layer | None, ...]
    genes: tuple[int, ...] = ()


class SlottedSpace(Space):
    """A space for any number of classes whose genes all have an effect; subclasses say groups and slots.

    Raises:
        InputError: a number of classes that cannot be.
    """

    def __init__(self, classes: int) -> None:
        self.classes = int(classes)
        if not 1 <= self.classes <= MOST_CLASSES:
            raise InputError(f"{self.name}: classes must be from 1 to {MOST_CLASSES}, not {self.classes}")
        self._slots = self.slots()
        layers = [layer for slot in self._slots for layer in slot.layers if layer is not None]
        known: dict[Layer | None, int] = {layer: i for i, layer in enumerate(dict.fromkeys(layers))}
        self._vocabulary = [layer for layer in known if layer is not None]
        known[None] = -1
        self._ids = [np.array([known[layer] for layer in slot.layers], np.int64) for slot in self._slots]

    @abstractmethod
    def slots(self) -> list[Slot]:
        """The network in execution order."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Classes."""
        return {"classes": self.classes}

    def active(self, X: Population) -> NDArray[np.bool_]:
        """All of them."""
        return np.ones_like(self.check(X), np.bool_)

    def vocabulary(self) -> Sequence[Layer]:
        """Every layer once."""
        return self._vocabulary

    def layer_ids(self, X: Population) -> NDArray[np.int64]:
        """``(n, slots)`` positions in the vocabulary; −1 where an option is no layer."""
        population = self.check(X)
        chosen = (self._choice(slot, population) for slot in self._slots)
        return np.stack([ids[options] for ids, options in zip(self._ids, chosen, strict=True)], axis=1)

    def _choice(self, slot: Slot, X: Population) -> NDArray[np.int64]:
        """Which of a slot's layers each architecture has, ``(n,)``."""
        if not slot.genes:
            return np.zeros(len(X), np.int64)
        genes = list(slot.genes)
        chosen: NDArray[np.int64] = np.ravel_multi_index(tuple(X[:, genes].T), tuple(self.cardinalities[genes]))
        return chosen


class ScaledSpace(SlottedSpace):
    """A space at any width, input resolution and number of classes; of the resolution a ``multiple_of``.

    Raises:
        InputError: a width, resolution or number of classes that cannot be.
    """

    multiple_of: ClassVar[int] = 1

    def __init__(self, width: float = 1.0, resolution: int = 224, classes: int = 1000) -> None:
        self.width, self.side = float(width), int(resolution)
        if not 0 < self.width <= LARGEST_WIDTH:
            raise InputError(f"{self.name}: width must be above 0 and at most {LARGEST_WIDTH}, not {self.width:g}")
        if not SMALLEST_RESOLUTION <= self.side <= LARGEST_RESOLUTION or self.side % self.multiple_of:
            raise InputError(
                f"{self.name}: resolution must be a multiple of {self.multiple_of} from {SMALLEST_RESOLUTION} "
                f"to {LARGEST_RESOLUTION}, not {self.side}"
            )
        super().__init__(classes)

    @property
    def parameters(self) -> dict[str, Any]:
        """Width, resolution and classes."""
        return {"width": self.width, "resolution": self.side, "classes": self.classes}
