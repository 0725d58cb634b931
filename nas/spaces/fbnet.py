"""The FBNet space (Wu et al. 2019).

22 layers after the stem, each one of eight blocks or a skip, on 224×224 input; 22 genes.
"""

from __future__ import annotations

from netdyno.nas.space import GeneGroup
from netdyno.nas.spaces.slots import Slot, SlottedSpace
from netdyno.profiler.layers import Conv, FBNetBlock, GlobalPool, Layer, Linear

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


class FBNet(SlottedSpace):
    """FBNet for any number of classes.

    A skip where the shape changes is a 1×1 convolution with that stride, as in the published code.

    Raises:
        InputError: a number of classes that cannot be.
    """

    name = "fbnet"
    groups = (GeneGroup("op", OPTIONS, sum(layers for _, layers, _ in STAGES)),)

    def __init__(self, classes: int = 1000) -> None:
        super().__init__(classes)

    def slots(self) -> list[Slot]:
        """Stem, 22 layers, final expansion, pool, classifier."""
        slots = [Slot((Conv(RESOLUTION, RESOLUTION, 3, STEM_CHANNELS, 3, 2, 1, "relu"),))]
        side, cin = RESOLUTION // 2, STEM_CHANNELS
        for cout, layers, first_stride in STAGES:
            for position in range(layers):
                stride = 1 if position else first_stride
                slots.append(Slot(_options(side, cin, cout, stride), (len(slots) - 1,)))
                side, cin = -(-side // stride), cout
        expansion = Conv(side, side, cin, HEAD_CHANNELS, 1, 1, 1, "relu")
        head = (expansion, GlobalPool(side, side, HEAD_CHANNELS), Linear(HEAD_CHANNELS, self.classes))
        return [*slots, *(Slot((layer,)) for layer in head)]


def _options(side: int, cin: int, cout: int, stride: int) -> tuple[Layer | None, ...]:
    fits = int(stride == 1 and cin == cout)
    blocks = (
        FBNetBlock(side, side, cin, cout, cin * expansion, kernel, stride, groups, fits)
        for kernel, expansion, groups in BLOCKS.values()
    )
    return (*blocks, None if fits else Conv(side, side, cin, cout, 1, stride, 1, "relu"))
