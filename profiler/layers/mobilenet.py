"""Layers of the MobileNets and of what was searched around them: convolutions, inverted bottlenecks, the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netdyno.exporters.graph import FP32_BYTES
from netdyno.profiler.layers.layer import Bottleneck, Convolution, Layer, Spatial, Windowed


@dataclass(frozen=True)
class Conv(Convolution):
    """A convolution padded by half its kernel, with batch norm (``norm`` 1) or without, then ``act``."""

    kind: ClassVar[str] = "conv"
    norm: int
    act: str

    @property
    def params(self) -> int:
        """Weights, and batch norm's two per channel; without batch norm there is no bias."""
        return self.kernel**2 * self.cin * self.cout + 2 * self.norm * self.cout


@dataclass(frozen=True)
class SeparableConv(Windowed):
    """A depthwise separable convolution: depthwise, then 1×1, each with batch norm and ``act`` behind it.

    Source: Howard et al. 2017 (MobileNets), Fig. 3.
    """

    kind: ClassVar[str] = "separable"
    act: str

    @property
    def macs(self) -> int:
        """Of both convolutions."""
        return self.out_pixels * self.cin * (self.kernel**2 + self.cout)

    @property
    def params(self) -> int:
        """Of both convolutions and their batch norms."""
        return (self.kernel**2 + 2) * self.cin + (self.cin + 2) * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """The largest of the moments at which each operator runs."""
        x, deep, out = self.h * self.w * self.cin, self.out_pixels * self.cin, self.out_pixels * self.cout
        moments = [x + deep, deep + out]
        if self.act != "none":
            moments += [2 * deep, 2 * out]
        return FP32_BYTES * max(moments)


@dataclass(frozen=True)
class MBConv(Bottleneck):
    """An inverted bottleneck: 1×1 expansion to ``mid``, depthwise, squeeze-and-excitation, 1×1 projection.

    There is no expansion where ``mid`` equals ``cin``, and no squeeze-and-excitation where ``se`` (its reduced
    channels) is 0; ``skip`` 1 adds the input to the output. Source: Howard et al. 2019 (MobileNetV3), Fig. 4.
    """

    kind: ClassVar[str] = "mbconv"
    act: str
    se: int
    skip: int

    @property
    def expands(self) -> bool:
        """Whether there is an expansion convolution."""
        return self.mid != self.cin

    @property
    def macs(self) -> int:
        """Of expansion, depthwise, squeeze-and-excitation and projection."""
        expansion = self.h * self.w * self.cin * self.mid * self.expands
        excitation = 2 * self.mid * self.se
        return expansion + excitation + self.out_pixels * self.mid * (self.kernel**2 + self.cout)

    @property
    def params(self) -> int:
        """Of all convolutions, their batch norms, and squeeze-and-excitation with its biases."""
        expansion = (self.cin + 2) * self.mid * self.expands
        excitation = 2 * self.mid * self.se + (self.mid + self.se if self.se else 0)
        return expansion + (self.kernel**2 + 2) * self.mid + excitation + (self.mid + 2) * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """The largest of the moments at which each operator runs; a skip keeps the input alive throughout."""
        x = self.h * self.w * self.cin
        kept = x * self.skip
        wide = self.h * self.w * self.mid
        deep = self.out_pixels * self.mid
        out = self.out_pixels * self.cout
        moments = [
            (kept if self.expands else x) + wide * self.expands + deep,
            kept + deep + out,
            (kept + 2 * out) * self.skip,
        ]
        if self.expands:
            moments.append(x + wide)
        if self.act != "none":
            moments += [kept + 2 * wide * self.expands, kept + 2 * deep]
        if self.se:
            gates = max(self.mid + self.se, 2 * self.se, 2 * self.mid)
            moments += [kept + deep + gates, kept + 2 * deep + self.mid]
        return FP32_BYTES * max(moments)


@dataclass(frozen=True)
class GlobalPool(Spatial):
    """The mean over height and width."""

    kind: ClassVar[str] = "pool"

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output."""
        return FP32_BYTES * (self.h * self.w * self.cin + self.cin)


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer with a bias, on a flattened (n, ``cin``, 1, 1) input."""

    kind: ClassVar[str] = "linear"
    cin: int
    cout: int

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW shape of one input."""
        return (1, self.cin, 1, 1)

    @property
    def macs(self) -> int:
        """One a weight."""
        return self.cin * self.cout

    @property
    def params(self) -> int:
        """Weights and biases."""
        return (self.cin + 1) * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """The input on both sides of the flattening, or flattened beside the output."""
        return FP32_BYTES * (self.cin + max(self.cin, self.cout))


def make_divisible(value: float, divisor: int = 8) -> int:
    """Channels as the MobileNets round them: a multiple of ``divisor``, at least one, not below 90 % of ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
