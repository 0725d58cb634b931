"""What a layer is: described by numbers only, with a key that is canonical text, ``kind-field:value-…``.

Sizes are those of the layer's input: ``h``, ``w``, ``cin``. ``act`` is one of :data:`ACTIVATIONS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

from netdyno.exporters.graph import FP32_BYTES

ACTIVATIONS = ("none", "relu", "swish", "h_swish")
EVEN_KERNEL = "a kernel padded by half of it has an odd size"


@dataclass(frozen=True)
class Layer(ABC):
    """A unit of a lookup table."""

    kind: ClassVar[str]

    @cached_property
    def key(self) -> str:
        """Canonical text of the layer; :func:`parse_layer` reads it back."""
        parts = (f"{field.name}:{getattr(self, field.name)}" for field in fields(self))
        return "-".join((self.kind, *parts))

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW shape of one input."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers, no bias, no batch norm."""
        return 0

    @property
    def params(self) -> int:
        """Trained parameters: weights, biases, batch norm's scale and shift."""
        return 0

    @property
    @abstractmethod
    def peak_activation_bytes(self) -> int:
        """Largest sum of live FP32 activations while the layer runs, its input and output included."""

    def fault(self) -> str:
        """Why there can be no such layer although each of its numbers may be; empty if there can."""
        return ""


@dataclass(frozen=True)
class Overhead(Layer):
    """The empty graph: what a call costs before any work is done."""

    kind: ClassVar[str] = "overhead"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The smallest tensor there is."""
        return (1, 1, 1, 1)

    @property
    def peak_activation_bytes(self) -> int:
        """One value in, one out."""
        return 2 * FP32_BYTES


@dataclass(frozen=True)
class Skip(Layer):
    """Nothing in a layer's place, and what a runtime spends there all the same."""

    kind: ClassVar[str] = "skip"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The smallest tensor there is."""
        return (1, 1, 1, 1)

    @property
    def peak_activation_bytes(self) -> int:
        """What passes by is the layer's before it."""
        return 0


@dataclass(frozen=True)
class Spatial(Layer):
    """A layer on an ``h`` × ``w`` × ``cin`` input."""

    h: int
    w: int
    cin: int

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW shape of one input."""
        return (1, self.cin, self.h, self.w)


@dataclass(frozen=True)
class Windowed(Spatial):
    """A layer with a window padded by half its ``kernel``."""

    cout: int
    kernel: int
    stride: int

    @property
    def out_pixels(self) -> int:
        """Height times width of the output."""
        return -(-self.h // self.stride) * -(-self.w // self.stride)

    def fault(self) -> str:
        """A window has a middle."""
        return "" if self.kernel % 2 else EVEN_KERNEL


@dataclass(frozen=True)
class Convolution(Windowed):
    """A dense convolution, then an activation, ``act``."""

    @property
    def macs(self) -> int:
        """Kernel area × channels in × channels out at each output position."""
        return self.out_pixels * self.kernel**2 * self.cin * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output, then the output on both sides of the activation."""
        inside, outside = self.h * self.w * self.cin, self.out_pixels * self.cout
        return FP32_BYTES * max(inside + outside, 2 * outside if getattr(self, "act", "none") != "none" else 0)


@dataclass(frozen=True)
class Bottleneck(Spatial):
    """Convolutions to ``mid`` channels, depthwise with the stride, and to ``cout``, with or without a skip."""

    cout: int
    mid: int
    kernel: int
    stride: int

    @property
    def adds_input(self) -> bool:
        """Whether there is a skip."""
        return bool(getattr(self, "skip", 0))

    @property
    def out_pixels(self) -> int:
        """Height times width of the output."""
        return -(-self.h // self.stride) * -(-self.w // self.stride)

    def fault(self) -> str:
        """A window has a middle, and a skip fits."""
        if self.kernel % 2 == 0:
            return EVEN_KERNEL
        fits = self.stride == 1 and self.cin == self.cout
        return "" if fits or not self.adds_input else "a skip needs an output of the input's shape"
