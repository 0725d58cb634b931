"""The Single-Path and Single-Path+ spaces (Stamoulis et al. 2019; Stamoulis 2020, chapters 5 and 6).

MnasNet's backbone: seven blocks of up to four inverted bottlenecks, 22 in all. The first and the last are fixed; of
the 20 between them each chooses kernel and expansion, in Single-Path+ squeeze-and-excitation as well, or is skipped
where its output has its input's shape. 20 genes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import UnknownName
from netdyno.nas.space import GeneGroup, Population
from netdyno.nas.spaces.slots import ScaledSpace, Slot
from netdyno.profiler.layers import Conv, GlobalPool, Layer, Linear, MBConv, make_divisible

STAGES = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2))
"""Channels and first stride of the searched blocks."""
STAGE_LAYERS = 4
LAYERS = STAGE_LAYERS * len(STAGES)
BASE_WIDTHS = (32, 16, *(channels for channels, _ in STAGES), 320, 1280)
LAST_EXPANSION = 6
KERNELS, EXPANSIONS = (3, 5), (3, 6)
SKIP = "skip"


@dataclass(frozen=True)
class Option:
    """One candidate of a layer; ``se`` is the ratio of reduced channels to the layer's input channels."""

    kernel: int
    expansion: int
    se: float = 0.0

    @property
    def name(self) -> str:
        """As in ``3x3-e6`` and ``5x5-e3-se0.25``."""
        return f"{self.kernel}x{self.kernel}-e{self.expansion}" + (f"-se{self.se:g}" if self.se else "")


@dataclass(frozen=True)
class Place:
    """What a searched layer is whichever option it takes; one that ``skips`` may be left out."""

    side: int
    cin: int
    cout: int
    stride: int

    @property
    def skips(self) -> bool:
        """Whether the output has the input's shape."""
        return self.stride == 1 and self.cin == self.cout

    def layer(self, option: Option) -> MBConv:
        """The layer of an option."""
        mid = self.cin * option.expansion
        se = max(int(self.cin * option.se), 1) if option.se else 0
        return MBConv(
            self.side, self.side, self.cin, self.cout, mid, option.kernel, self.stride, "relu", se, int(self.skips)
        )


class SinglePath(ScaledSpace):
    """Single-Path at any width, even input resolution and number of classes; raises as :class:`ScaledSpace` does.

    A layer's options are numbered as in the published runtime model; a skip comes last, where there is one.
    """

    name = "single-path"
    ratios: ClassVar[tuple[float, ...]] = (0.0,)
    multiple_of = 2

    def __init__(self, width: float = 1.0, resolution: int = 224, classes: int = 1000) -> None:
        super().__init__(width, resolution, classes)
        names = tuple(option.name for option in self.options)
        self.groups = tuple(
            GeneGroup(f"layer{number}", (*names, SKIP) if place.skips else names)
            for number, place in enumerate(self.places, start=1)
        )

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """Of stem, first block, searched blocks, last block and head, at this width."""
        return tuple(make_divisible(base * self.width) for base in BASE_WIDTHS)

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """A layer's candidates but the skip."""
        return tuple(Option(k, e, se) for k, e, se in product(KERNELS, EXPANSIONS, self.ratios))

    @cached_property
    def places(self) -> list[Place]:
        """The searched layers in execution order."""
        side, cin = self.side // 2, self.channels[1]
        places = []
        for (_, first_stride), cout in zip(STAGES, self.channels[2:], strict=False):
            for position in range(STAGE_LAYERS):
                places.append(Place(side, cin, cout, 1 if position else first_stride))
                side, cin = -(-side // places[-1].stride), cout
        return places

    def slots(self) -> list[Slot]:
        """Stem, first block, 20 searched layers, last block, final expansion, pool, classifier."""
        stem, first, *_, deepest, last, head = self.channels
        side = self.side // 2
        opening = (
            Conv(self.side, self.side, 3, stem, 3, 2, 1, "relu"),
            MBConv(side, side, stem, first, stem, 3, 1, "relu", 0, 0),
        )
        end = -(-self.places[-1].side // self.places[-1].stride)
        closing = (
            MBConv(end, end, deepest, last, deepest * LAST_EXPANSION, 3, 1, "relu", 0, 0),
            Conv(end, end, last, head, 1, 1, 1, "relu"),
            GlobalPool(end, end, head),
            Linear(head, self.classes),
        )
        searched = [Slot(self._candidates(place), (gene,)) for gene, place in enumerate(self.places)]
        return [*(Slot((layer,)) for layer in opening), *searched, *(Slot((layer,)) for layer in closing)]

    def _candidates(self, place: Place) -> tuple[Layer | None, ...]:
        layers = tuple(place.layer(option) for option in self.options)
        return (*layers, None) if place.skips else layers

    def uniform(self, option: str) -> Population:
        """The architecture ``(20,)`` with every searched layer of one kind, ``3x3-e3`` for example.

        Raises:
            UnknownName: no such option, or the skip, which not every layer has.
        """
        names = [each.name for each in self.options]
        if option not in names:
            raise UnknownName("option", option, names)
        return np.full(LAYERS, names.index(option), np.int64)

    def smallest(self) -> Population:
        """Every layer skipped that can be, the others with the smallest kernel and expansion."""
        return np.where([place.skips for place in self.places], len(self.options), 0).astype(np.int64)

    def largest(self) -> Population:
        """Every layer with the largest kernel, expansion and squeeze-and-excitation."""
        return np.full(LAYERS, len(self.options) - 1, np.int64)

    def parts(self) -> NDArray[np.int64]:
        """Blocks, then layers, ``(2, 20)``."""
        layers = np.arange(LAYERS)
        return np.stack([layers // STAGE_LAYERS, layers])


class SinglePathPlus(SinglePath):
    """Single-Path+: a layer also chooses squeeze-and-excitation, to a quarter or half of its input's channels."""

    name = "single-path-plus"
    ratios = (0.0, 0.25, 0.5)
