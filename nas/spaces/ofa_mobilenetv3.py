"""The Once-for-All MobileNetV3 space (Cai et al. 2020).

Five units of two to four inverted bottlenecks with kernel 3, 5, 7 and expansion 3, 4, 6, at several resolutions.
46 genes in the published order: 20 kernels, 20 expansions, 5 depths, the resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas.space import GeneGroup, Population, Space
from netdyno.profiler.layers import Conv, GlobalPool, Layer, Linear, MBConv, make_divisible

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 4, 6)
DEPTHS = (2, 3, 4)
RESOLUTIONS = tuple(range(128, 225, 4))
UNITS = 5
UNIT_BLOCKS = max(DEPTHS)
_PRESENT = np.arange(UNIT_BLOCKS) < np.array(DEPTHS)[:, None]
"""Which blocks a unit of each depth has, ``(3, 4)``."""
STRIDES = (2, 2, 2, 1, 2)
ACTIVATIONS = ("relu", "relu", "h_swish", "h_swish", "h_swish")
EXCITED = (False, True, False, True, True)
BASE_WIDTHS = (16, 16, 24, 40, 80, 112, 160, 960, 1280)
SMALLEST_RESOLUTION = 32
LARGEST_RESOLUTION = 1024
MOST_CLASSES = 100_000


class OfaMobileNetV3(Space):
    """OFA MobileNetV3 of any width, for any set of input resolutions and number of classes.

    Raises:
        InputError: a width that is not positive, or a resolution that the network cannot take.
    """

    name = "ofa-mobilenetv3"

    def __init__(
        self, width: float = 1.0, resolutions: Sequence[int] | int = RESOLUTIONS, classes: int = 1000
    ) -> None:
        self.width = float(width)
        sizes = [resolutions] if isinstance(resolutions, int) else resolutions
        self.resolutions = tuple(int(size) for size in sizes)
        self.classes = int(classes)
        self._check_parameters()
        self.channels = tuple(make_divisible(base * self.width) for base in BASE_WIDTHS)
        blocks = UNITS * UNIT_BLOCKS
        self.groups = (
            GeneGroup("ks", KERNELS, blocks),
            GeneGroup("e", EXPANSIONS, blocks),
            GeneGroup("d", DEPTHS, UNITS),
            GeneGroup("r", self.resolutions),
        )

    def _check_parameters(self) -> None:
        if not 0 < self.width <= 16:
            raise InputError(f"{self.name}: width must be above 0 and at most 16, not {self.width:g}")
        if not 1 <= self.classes <= MOST_CLASSES:
            raise InputError(f"{self.name}: classes must be from 1 to {MOST_CLASSES}, not {self.classes}")
        sizes = self.resolutions
        if not sizes or list(sizes) != sorted(set(sizes)):
            raise InputError(f"{self.name}: resolutions must be given once each, ascending: {list(sizes)}")
        if sizes[0] < SMALLEST_RESOLUTION or sizes[-1] > LARGEST_RESOLUTION or any(s % 4 for s in sizes):
            raise InputError(
                f"{self.name}: resolutions must be multiples of 4 from {SMALLEST_RESOLUTION} "
                f"to {LARGEST_RESOLUTION}, not {list(sizes)}"
            )

    @property
    def parameters(self) -> dict[str, Any]:
        """Width, resolutions and classes."""
        return {"width": self.width, "resolutions": list(self.resolutions), "classes": self.classes}

    # Architectures -----------------------------------------------------------------------------------------------

    def active(self, X: Population) -> NDArray[np.bool_]:
        """Kernels and expansions of blocks beyond a unit's depth have no effect, ``(n, 46)``."""
        population = self.check(X)
        active = np.ones(population.shape, np.bool_)
        active[:, self.columns["ks"]] = _PRESENT[population[:, self.columns["d"]]].reshape(-1, UNITS * UNIT_BLOCKS)
        active[:, self.columns["e"]] = active[:, self.columns["ks"]]
        return active

    def parts(self) -> NDArray[np.int64]:
        """Units with their depths, then blocks; depths and resolution are parts of their own there, ``(2, 46)``."""
        blocks, units = np.arange(UNITS * UNIT_BLOCKS), np.arange(UNITS)
        of_units = np.concatenate([blocks // UNIT_BLOCKS, blocks // UNIT_BLOCKS, units, [UNITS]])
        of_blocks = np.concatenate([blocks, blocks, len(blocks) + units, [len(blocks) + UNITS]])
        return np.stack([of_units, of_blocks])

    def uniform(self, kernel: int, expansion: int, depth: int, resolution: int) -> Population:
        """The architecture ``(46,)`` whose blocks are all alike.

        Raises:
            InputError: a value that is not in the space.
        """
        blocks = UNITS * UNIT_BLOCKS
        values = {"ks": [kernel] * blocks, "e": [expansion] * blocks, "d": [depth] * UNITS, "r": [resolution]}
        genes: Population = self.encode([values])[0]
        return genes

    def between(self) -> OfaMobileNetV3 | None:
        """The space at a resolution halfway between each two neighbours of its own, where there is one."""
        pairs = zip(self.resolutions, self.resolutions[1:], strict=False)
        halfway = [(low + high) // 8 * 4 for low, high in pairs if high - low > 4]
        return OfaMobileNetV3(self.width, halfway, self.classes) if halfway else None

    def resolution(self, genes: Population) -> int:
        """Height and width of one architecture's input."""
        return self.resolutions[int(self.check(genes)[0, self.columns["r"]][0])]

    # Layers ------------------------------------------------------------------------------------------------------

    def vocabulary(self) -> Sequence[Layer]:
        """Every layer of every resolution, once."""
        return self._vocabulary[0]

    def layer_ids(self, X: Population) -> NDArray[np.int64]:
        """``(n, 26)``: stem, first block, 20 blocks, final expansion, pool, feature mix, classifier."""
        population = self.check(X)
        _, static, blocks = self._vocabulary
        resolution = population[:, self.columns["r"]]
        ids = np.empty((len(population), static.shape[1] + UNITS * UNIT_BLOCKS), np.int64)
        ids[:, :2] = static[resolution[:, 0], :2]
        ids[:, -4:] = static[resolution[:, 0], 2:]
        slot = np.arange(UNITS * UNIT_BLOCKS)
        kernel, expansion = population[:, self.columns["ks"]], population[:, self.columns["e"]]
        chosen = blocks[resolution, slot, kernel, expansion]
        ids[:, 2:-4] = np.where(self.active(population)[:, : len(slot)], chosen, -1)
        return ids

    @cached_property
    def _vocabulary(self) -> tuple[list[Layer], NDArray[np.int64], NDArray[np.int64]]:
        """Layers; ids of the static ones ``(resolutions, 6)``; of blocks ``(resolutions, 20, 3, 3)``."""
        known: dict[Layer, int] = {}
        static = np.empty((len(self.resolutions), 6), np.int64)
        shape = (len(self.resolutions), UNITS * UNIT_BLOCKS, len(KERNELS), len(EXPANSIONS))
        blocks = np.empty(shape, np.int64)
        for position, resolution in enumerate(self.resolutions):
            size = -(-resolution // 2)
            stem = self._stem(resolution)
            for unit, block in product(range(UNITS), range(UNIT_BLOCKS)):
                for k, e in product(range(len(KERNELS)), range(len(EXPANSIONS))):
                    layer = self._block(unit, block, size, KERNELS[k], EXPANSIONS[e])
                    blocks[position, unit * UNIT_BLOCKS + block, k, e] = known.setdefault(layer, len(known))
                size = -(-size // STRIDES[unit]) if block == 0 else size
            ends = (*stem, *self._head(size))
            static[position] = [known.setdefault(layer, len(known)) for layer in ends]
        return list(known), static, blocks

    def _stem(self, resolution: int) -> tuple[Layer, Layer]:
        first, second = self.channels[:2]
        size = -(-resolution // 2)
        return (
            Conv(resolution, resolution, 3, first, kernel=3, stride=2, norm=1, act="h_swish"),
            MBConv(
                size,
                size,
                first,
                second,
                mid=first,
                kernel=3,
                stride=1,
                act="relu",
                se=0,
                skip=int(first == second),
            ),
        )

    def _block(self, unit: int, block: int, size: int, kernel: int, expansion: int) -> Layer:
        cout = self.channels[unit + 2]
        cin = cout if block else self.channels[unit + 1]
        stride = 1 if block else STRIDES[unit]
        mid = make_divisible(round(cin * expansion))
        return MBConv(
            h=size,
            w=size,
            cin=cin,
            cout=cout,
            mid=mid,
            kernel=kernel,
            stride=stride,
            act=ACTIVATIONS[unit],
            se=make_divisible(mid // 4) if EXCITED[unit] else 0,
            skip=int(stride == 1 and cin == cout),
        )

    def _head(self, size: int) -> tuple[Layer, Layer, Layer, Layer]:
        last, expanded, mixed = self.channels[6:]
        return (
            Conv(size, size, last, expanded, kernel=1, stride=1, norm=1, act="h_swish"),
            GlobalPool(size, size, expanded),
            Conv(1, 1, expanded, mixed, kernel=1, stride=1, norm=0, act="h_swish"),
            Linear(mixed, self.classes),
        )
