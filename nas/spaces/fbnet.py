"""The FBNet space (Wu et al. 2019).

22 layers after the stem, each one of eight blocks or a skip, on 224×224 input; 22 genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas.space import GeneGroup, Population, Space
from netdyno.profiler.layer import Conv, FBNetBlock, GlobalPool, Layer, Linear

BLOCKS = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}
"""Kernel, expansion, groups."""
OPTIONS = (*BLOCKS, "skip")
STAGES = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
"""Channels, layers, stride of the first."""
RESOLUTION = 224
STEM_CHANNELS = 16
HEAD_CHANNELS = 1984
MOST_CLASSES = 100_000


class FBNet(Space):
    """FBNet for any number of classes.

    A skip where the shape changes is a 1×1 convolution with that stride, as in the published code.

    Raises:
        InputError: a number of classes that cannot be.
    """

    name = "fbnet"

    def __init__(self, classes: int = 1000) -> None:
        self.classes = int(classes)
        if not 1 <= self.classes <= MOST_CLASSES:
            raise InputError(f"{self.name}: classes must be from 1 to {MOST_CLASSES}, not {self.classes}")
        self.groups = (GeneGroup("op", OPTIONS, sum(layers for _, layers, _ in STAGES)),)
        slots = self._slots()
        self._vocabulary = list(dict.fromkeys(layer for slot in slots for layer in slot if layer is not None))
        position: dict[Layer | None, int] = {layer: i for i, layer in enumerate(self._vocabulary)}
        position[None] = -1
        self._ids = [np.array([position[layer] for layer in slot], np.int64) for slot in slots]

    def _slots(self) -> list[tuple[Layer | None, ...]]:
        """The network's slots in execution order: one layer, or one for each option."""
        slots: list[tuple[Layer | None, ...]] = [(Conv(RESOLUTION, RESOLUTION, 3, STEM_CHANNELS, 3, 2, 1, "relu"),)]
        side, cin = RESOLUTION // 2, STEM_CHANNELS
        for cout, layers, first_stride in STAGES:
            for position in range(layers):
                stride = 1 if position else first_stride
                slots.append(_options(side, cin, cout, stride))
                side, cin = -(-side // stride), cout
        head = Conv(side, side, cin, HEAD_CHANNELS, 1, 1, 1, "relu")
        return [*slots, (head,), (GlobalPool(side, side, HEAD_CHANNELS),), (Linear(HEAD_CHANNELS, self.classes),)]

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
        """``(n, 26)``: stem, 22 layers, final expansion, pool, classifier."""
        population = self.check(X)
        none = np.zeros((len(population), 1), np.int64)
        chosen = np.concatenate([none, population, none, none, none], axis=1)
        return np.stack([ids[chosen[:, slot]] for slot, ids in enumerate(self._ids)], axis=1)


def _options(side: int, cin: int, cout: int, stride: int) -> tuple[Layer | None, ...]:
    fits = int(stride == 1 and cin == cout)
    blocks = (
        FBNetBlock(side, side, cin, cout, cin * expansion, kernel, stride, groups, fits)
        for kernel, expansion, groups in BLOCKS.values()
    )
    return (*blocks, None if fits else Conv(side, side, cin, cout, 1, stride, 1, "relu"))
