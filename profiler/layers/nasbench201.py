"""Layers of NAS-Bench-201 (Dong & Yang 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netdyno.exporters.graph import FP32_BYTES
from netdyno.profiler.layers.layer import EVEN_KERNEL, Spatial, Windowed


@dataclass(frozen=True)
class PreConv(Windowed):
    """Relu, then a convolution padded by half its kernel, then batch norm (He et al. 2016, pre-activation)."""

    kind: ClassVar[str] = "preconv"

    @property
    def macs(self) -> int:
        """Kernel area × channels in × channels out at each output position."""
        return self.out_pixels * self.kernel**2 * self.cin * self.cout

    @property
    def params(self) -> int:
        """Weights, and batch norm's two per channel."""
        return self.kernel**2 * self.cin * self.cout + 2 * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """The input on both sides of the activation, then input and output."""
        inside = self.h * self.w * self.cin
        return FP32_BYTES * (inside + max(inside, self.out_pixels * self.cout))


@dataclass(frozen=True)
class PreResidual(Windowed):
    """Two pre-activation convolutions, the first with the stride, beside a 2×2 mean and a 1×1 convolution.

    Source: Dong & Yang 2020 (NAS-Bench-201), Fig. 1, the residual block between stages.
    """

    kind: ClassVar[str] = "preresidual"

    @property
    def macs(self) -> int:
        """Of the three convolutions."""
        return self.out_pixels * self.cout * (self.kernel**2 * (self.cin + self.cout) + self.cin)

    @property
    def params(self) -> int:
        """Of the three convolutions and the two batch norms."""
        return self.cout * (self.kernel**2 * (self.cin + self.cout) + self.cin + 4)

    @property
    def peak_activation_bytes(self) -> int:
        """Input, its relu and the first output; or the input beside an output and its successor; or the sum."""
        x, out = self.h * self.w * self.cin, self.out_pixels * self.cout
        return FP32_BYTES * max(2 * x + out, x + 2 * out, 3 * out)

    def fault(self) -> str:
        """The mean beside the convolutions halves the sides."""
        halves = self.stride == 2 and self.h % 2 == 0 and self.w % 2 == 0
        return super().fault() if halves else "it halves an even height and width: stride 2"


@dataclass(frozen=True)
class AvgPool(Spatial):
    """The mean over a ``kernel`` × ``kernel`` window at every position, padding not counted."""

    kind: ClassVar[str] = "avgpool"
    kernel: int

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output."""
        return 2 * FP32_BYTES * self.h * self.w * self.cin

    def fault(self) -> str:
        """A window has a middle."""
        return "" if self.kernel % 2 else EVEN_KERNEL


@dataclass(frozen=True)
class Zero(Spatial):
    """Zeros of the input's shape, computed from it."""

    kind: ClassVar[str] = "zero"

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output."""
        return 2 * FP32_BYTES * self.h * self.w * self.cin


@dataclass(frozen=True)
class Add(Spatial):
    """The sum of two inputs of one shape."""

    kind: ClassVar[str] = "add"

    @property
    def peak_activation_bytes(self) -> int:
        """Two inputs and the output."""
        return 3 * FP32_BYTES * self.h * self.w * self.cin


@dataclass(frozen=True)
class Norm(Spatial):
    """Batch norm on its own, then relu."""

    kind: ClassVar[str] = "norm"

    @property
    def params(self) -> int:
        """A scale and a shift per channel."""
        return 2 * self.cin

    @property
    def peak_activation_bytes(self) -> int:
        """The same size on both sides of either operator."""
        return 2 * FP32_BYTES * self.h * self.w * self.cin
