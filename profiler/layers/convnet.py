"""Layers of plain convolutional networks, as Caffe's examples have them: no batch norm, biases, pooling by maxima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netdyno.exporters.graph import FP32_BYTES
from netdyno.profiler.layers.layer import Convolution, Spatial


@dataclass(frozen=True)
class PlainConv(Convolution):
    """A convolution with a bias, then ``act``; padded by half its kernel, an even one by less before."""

    kind: ClassVar[str] = "plainconv"
    act: str

    @property
    def params(self) -> int:
        """Weights and biases."""
        return (self.kernel**2 * self.cin + 1) * self.cout

    def fault(self) -> str:
        """Any kernel will do."""
        return ""


@dataclass(frozen=True)
class MaxPool(Spatial):
    """The largest in a ``kernel`` × ``kernel`` window at every ``stride``-th position of a square input."""

    kind: ClassVar[str] = "maxpool"
    kernel: int
    stride: int

    @property
    def out_pixels(self) -> int:
        """Height times width of the output."""
        return (-(-self.h // self.stride)) ** 2

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output."""
        return FP32_BYTES * self.cin * (self.h * self.w + self.out_pixels)

    def fault(self) -> str:
        """The input is square."""
        return "" if self.h == self.w else "the largest is taken of square inputs"


@dataclass(frozen=True)
class Dense(Spatial):
    """A fully connected layer with a bias on all of a square input, then ``act``; (n, ``cout``, 1, 1) comes out."""

    kind: ClassVar[str] = "dense"
    cout: int
    act: str

    @property
    def macs(self) -> int:
        """One a weight."""
        return self.h * self.w * self.cin * self.cout

    @property
    def params(self) -> int:
        """Weights and biases."""
        return (self.h * self.w * self.cin + 1) * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output, then the output on both sides of the activation."""
        moments = [self.h * self.w * self.cin + self.cout, 2 * self.cout * (self.act != "none")]
        return FP32_BYTES * max(moments)

    def fault(self) -> str:
        """The input is square."""
        return "" if self.h == self.w else "its kernel is as large as its input, which is square"
