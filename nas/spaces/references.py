"""Published networks as baselines: spaces of one architecture each, of any width, input resolution and classes.

They are profiled, trained, compared and exported as everything else is. Where a publication leaves a choice open, its
authors' code decides.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from netdyno.nas.space import GeneGroup
from netdyno.nas.spaces.fbnet import BLOCKS, HEAD_CHANNELS, STAGES
from netdyno.nas.spaces.slots import ScaledSpace, Slot
from netdyno.profiler.layers import Conv, FBNetBlock, GlobalPool, Layer, Linear, MBConv, SeparableConv, make_divisible


class Reference(ScaledSpace):
    """A published network: one gene with one option, its name; raises as :class:`ScaledSpace` does."""

    def __init__(self, width: float = 1.0, resolution: int = 224, classes: int = 1000) -> None:
        self.groups = (GeneGroup("network", (self.name,)),)
        super().__init__(width, resolution, classes)

    def slots(self) -> list[Slot]:
        """The network's layers, none of them a choice."""
        return [Slot((layer,)) for layer in self.chain()]

    @abstractmethod
    def chain(self) -> list[Layer]:
        """The network in execution order."""

    def wide(self, channels: int) -> int:
        """Channels at this width."""
        return make_divisible(channels * self.width)

    def stem(self, channels: int, act: str = "relu") -> Conv:
        """The first convolution, with stride 2."""
        return Conv(self.side, self.side, 3, self.wide(channels), 3, 2, 1, act)

    def head(self, last: Layer, channels: int) -> list[Layer]:
        """A 1×1 convolution to so many channels, pool and classifier."""
        h, w, cin = after(last)
        return [Conv(h, w, cin, channels, 1, 1, 1, "relu"), *self.classifier(h, w, channels)]

    def classifier(self, h: int, w: int, cin: int) -> list[Layer]:
        """Pool and classifier."""
        return [GlobalPool(h, w, cin), Linear(cin, self.classes)]


def after(layer: Layer) -> tuple[int, int, int]:
    """Height, width and channels of what a layer with a window makes."""
    assert isinstance(layer, Conv | SeparableConv | MBConv | FBNetBlock)
    return -(-layer.h // layer.stride), -(-layer.w // layer.stride), layer.cout


class MobileNetV1(Reference):
    """MobileNet (Howard et al. 2017, Table 1)."""

    name = "mobilenet-v1"
    blocks = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
    """Channels and stride."""

    def chain(self) -> list[Layer]:
        """Stem, 13 depthwise separable convolutions, pool, classifier."""
        layers: list[Layer] = [self.stem(32)]
        for channels, stride in self.blocks:
            layers.append(SeparableConv(*after(layers[-1]), self.wide(channels), 3, stride, "relu"))
        return [*layers, *self.classifier(*after(layers[-1]))]


@dataclass(frozen=True)
class Stage:
    """``layers`` bottlenecks of one kind, the first with the stride; ``se`` is a ratio to their input's channels."""

    kernel: int
    expansion: int
    channels: int
    layers: int
    stride: int
    se: float = 0.0


class Bottlenecks(Reference):
    """Networks of inverted bottlenecks after a stem of 32 channels, ending in 1280."""

    stages: tuple[Stage, ...]

    def chain(self) -> list[Layer]:
        """Stem, bottlenecks, final expansion, pool, classifier."""
        layers: list[Layer] = [self.stem(32)]
        for stage in self.stages:
            for position in range(stage.layers):
                layers.append(self._bottleneck(layers[-1], stage, 1 if position else stage.stride))
        return [*layers, *self.head(layers[-1], make_divisible(1280 * max(self.width, 1.0)))]

    def _bottleneck(self, last: Layer, stage: Stage, stride: int) -> MBConv:
        h, w, cin = after(last)
        cout, se = self.wide(stage.channels), max(int(cin * stage.se), 1) if stage.se else 0
        skip = int(stride == 1 and cin == cout)
        return MBConv(h, w, cin, cout, cin * stage.expansion, stage.kernel, stride, "relu", se, skip)


class MobileNetV2(Bottlenecks):
    """MobileNetV2 (Sandler et al. 2018, Table 2)."""

    name = "mobilenet-v2"
    stages = (
        Stage(3, 1, 16, 1, 1),
        Stage(3, 6, 24, 2, 2),
        Stage(3, 6, 32, 3, 2),
        Stage(3, 6, 64, 4, 2),
        Stage(3, 6, 96, 3, 1),
        Stage(3, 6, 160, 3, 2),
        Stage(3, 6, 320, 1, 1),
    )


class MnasNetB1(Bottlenecks):
    """MnasNet-B1, without squeeze-and-excitation (Tan et al. 2019)."""

    name = "mnasnet-b1"
    stages = (
        Stage(3, 1, 16, 1, 1),
        Stage(3, 3, 24, 3, 2),
        Stage(5, 3, 40, 3, 2),
        Stage(5, 6, 80, 3, 2),
        Stage(3, 6, 96, 2, 1),
        Stage(5, 6, 192, 4, 2),
        Stage(3, 6, 320, 1, 1),
    )


class MnasNetA1(Bottlenecks):
    """MnasNet-A1 (Tan et al. 2019, Fig. 7)."""

    name = "mnasnet-a1"
    stages = (
        Stage(3, 1, 16, 1, 1),
        Stage(3, 6, 24, 2, 2),
        Stage(5, 3, 40, 3, 2, 0.25),
        Stage(3, 6, 80, 4, 2),
        Stage(3, 6, 112, 2, 1, 0.25),
        Stage(5, 6, 160, 3, 2, 0.25),
        Stage(3, 6, 320, 1, 1),
    )


class ProxylessNasR(Bottlenecks):
    """ProxylessNAS-R, for mobile CPUs (Cai et al. 2019, Fig. 4)."""

    name = "proxylessnas-r"
    stages = (
        Stage(3, 1, 16, 1, 1),
        Stage(5, 3, 32, 1, 2),
        Stage(3, 3, 32, 1, 1),
        Stage(7, 3, 40, 1, 2),
        Stage(3, 3, 40, 1, 1),
        Stage(5, 3, 40, 2, 1),
        Stage(7, 6, 80, 1, 2),
        Stage(5, 3, 80, 3, 1),
        Stage(5, 6, 96, 1, 1),
        Stage(5, 3, 96, 3, 1),
        Stage(7, 6, 192, 2, 2),
        Stage(7, 3, 192, 2, 1),
        Stage(7, 6, 320, 1, 1),
    )


class SinglePathNas(Bottlenecks):
    """The network that Single-Path NAS found for 80 ms on a Pixel 1 (Stamoulis et al. 2019, Fig. 5)."""

    name = "single-path-nas"
    stages = (
        Stage(3, 1, 16, 1, 1),
        Stage(3, 3, 24, 3, 2),
        Stage(5, 6, 40, 1, 2),
        Stage(3, 3, 40, 3, 1),
        Stage(5, 6, 80, 1, 2),
        Stage(3, 3, 80, 3, 1),
        Stage(5, 6, 96, 1, 1),
        Stage(5, 3, 96, 3, 1),
        Stage(5, 6, 192, 4, 2),
        Stage(3, 6, 320, 1, 1),
    )


class MobileNetV3(Reference):
    """MobileNetV3-Large (Howard et al. 2019, Table 1)."""

    name = "mobilenet-v3"
    blocks = (
        (3, 16, 16, 1, False, "relu"),
        (3, 64, 24, 2, False, "relu"),
        (3, 72, 24, 1, False, "relu"),
        (5, 72, 40, 2, True, "relu"),
        (5, 120, 40, 1, True, "relu"),
        (5, 120, 40, 1, True, "relu"),
        (3, 240, 80, 2, False, "h_swish"),
        (3, 200, 80, 1, False, "h_swish"),
        (3, 184, 80, 1, False, "h_swish"),
        (3, 184, 80, 1, False, "h_swish"),
        (3, 480, 112, 1, True, "h_swish"),
        (3, 672, 112, 1, True, "h_swish"),
        (5, 672, 160, 2, True, "h_swish"),
        (5, 960, 160, 1, True, "h_swish"),
        (5, 960, 160, 1, True, "h_swish"),
    )
    """Kernel, expanded channels, channels, stride, squeeze-and-excitation, activation."""

    def chain(self) -> list[Layer]:
        """Stem, 15 bottlenecks, final expansion, pool, feature mix, classifier."""
        layers: list[Layer] = [self.stem(16, "h_swish")]
        for kernel, expanded, channels, stride, excited, act in self.blocks:
            h, w, cin = after(layers[-1])
            mid, cout = self.wide(expanded), self.wide(channels)
            se, skip = make_divisible(mid / 4) if excited else 0, int(stride == 1 and cin == cout)
            layers.append(MBConv(h, w, cin, cout, mid, kernel, stride, act, se, skip))
        (h, w, cin), last = after(layers[-1]), self.wide(960)
        mixed = make_divisible(1280 * max(self.width, 1.0))
        ending = (Conv(h, w, cin, last, 1, 1, 1, "h_swish"), GlobalPool(h, w, last))
        return [*layers, *ending, Conv(1, 1, last, mixed, 1, 1, 0, "h_swish"), Linear(mixed, self.classes)]


class FBNetB(Reference):
    """FBNet-B, for a Samsung S8 (Wu et al. 2019, Fig. 4)."""

    name = "fbnet-b"
    blocks = (
        "k3_e1",
        *("k3_e6", "k5_e1", "k3_e1", "k3_e1"),
        *("k5_e6", "k5_e3", "k3_e6", "k5_e6"),
        *("k5_e6", "k5_e1", "skip", "k5_e3"),
        *("k5_e6", "k3_e1", "k5_e1", "k5_e3"),
        *("k5_e6", "k5_e1", "k5_e6", "k5_e6"),
        "k3_e6",
    )

    def chain(self) -> list[Layer]:
        """Stem, 21 blocks, final expansion, pool, classifier."""
        layers: list[Layer] = [self.stem(16)]
        for name, (channels, stride) in zip(self.blocks, self._places(), strict=True):
            if name != "skip":
                h, w, cin = after(layers[-1])
                (kernel, expansion, groups), cout = BLOCKS[name], self.wide(channels)
                skip = int(stride == 1 and cin == cout)
                layers.append(FBNetBlock(h, w, cin, cout, cin * expansion, kernel, stride, groups, skip))
        return [*layers, *self.head(layers[-1], make_divisible(HEAD_CHANNELS * max(self.width, 1.0)))]

    def _places(self) -> Iterable[tuple[int, int]]:
        for channels, count, first_stride in STAGES:
            yield from ((channels, 1 if position else first_stride) for position in range(count))
