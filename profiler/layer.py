"""Layers: the units of a lookup table, described by numbers only.

A layer's key is canonical text, ``kind-field:value-…``; within one table equal keys mean equal cost. Sizes are
those of the layer's input: ``h``, ``w``, ``cin``. ``act`` is ``none``, ``relu`` or ``h_swish``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

from netdyno.base.errors import InputError
from netdyno.exporters.graph import FP32_BYTES

ACTIVATIONS = ("none", "relu", "h_swish")
EVEN_KERNEL = "a kernel padded by half of it has an odd size"
_LARGEST = 10**9
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class Layer:
    """A unit of a lookup table."""

    kind: ClassVar[str]

    @cached_property
    def key(self) -> str:
        """Canonical text of the layer; :func:`parse_layer` reads it back."""
        parts = (f"{field.name}:{getattr(self, field.name)}" for field in fields(self))
        return "-".join((self.kind, *parts))

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW shape of one input."""
        raise NotImplementedError

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers, no bias, no batch norm."""
        return 0

    @property
    def params(self) -> int:
        """Trained parameters: weights, biases, batch norm's scale and shift."""
        return 0

    @property
    def peak_activation_bytes(self) -> int:
        """Largest sum of live FP32 activations while the layer runs, its input and output included."""
        raise NotImplementedError

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
class _Spatial(Layer):
    """A layer on an ``h`` × ``w`` × ``cin`` input."""

    h: int
    w: int
    cin: int

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """NCHW shape of one input."""
        return (1, self.cin, self.h, self.w)


@dataclass(frozen=True)
class _Windowed(_Spatial):
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
class Conv(_Windowed):
    """A convolution padded by half its kernel, with batch norm (``norm`` 1) or without, then ``act``."""

    kind: ClassVar[str] = "conv"
    norm: int
    act: str

    @property
    def macs(self) -> int:
        """Kernel area × channels in × channels out at each output position."""
        return self.out_pixels * self.kernel**2 * self.cin * self.cout

    @property
    def params(self) -> int:
        """Weights, and batch norm's two per channel; without batch norm there is no bias."""
        return self.kernel**2 * self.cin * self.cout + 2 * self.norm * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output, then the output on both sides of the activation."""
        inside, outside = self.h * self.w * self.cin, self.out_pixels * self.cout
        return FP32_BYTES * max(inside + outside, 2 * outside if self.act != "none" else 0)


@dataclass(frozen=True)
class _Bottleneck(_Spatial):
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


@dataclass(frozen=True)
class MBConv(_Bottleneck):
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
class GlobalPool(_Spatial):
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


@dataclass(frozen=True)
class FBNetBlock(_Bottleneck):
    """FBNet's block: 1×1 group convolution to ``mid``, channel shuffle, depthwise, 1×1 group convolution.

    Relu after the first two; no shuffle where ``groups`` is 1; ``skip`` 1 adds the input to the output.
    Source: Wu et al. 2019 (FBNet), Fig. 3.
    """

    kind: ClassVar[str] = "fbnet"
    groups: int
    skip: int

    @property
    def macs(self) -> int:
        """Of the two group convolutions and the depthwise one."""
        grouped = (self.h * self.w * self.cin + self.out_pixels * self.cout) * self.mid // self.groups
        return grouped + self.out_pixels * self.mid * self.kernel**2

    @property
    def params(self) -> int:
        """Of the three convolutions and their batch norms."""
        grouped = (self.cin + self.cout) * self.mid // self.groups
        return grouped + (self.kernel**2 + 4) * self.mid + 2 * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """The largest of the moments at which each operator runs; a skip keeps the input alive throughout."""
        x, wide, deep, out = (
            pixels * channels
            for pixels, channels in (
                (self.h * self.w, self.cin),
                (self.h * self.w, self.mid),
                (self.out_pixels, self.mid),
                (self.out_pixels, self.cout),
            )
        )
        kept = x * self.skip
        inner = kept + max(2 * wide, wide + deep, 2 * deep, deep + out, 2 * out * self.skip)
        return FP32_BYTES * max(x + wide, inner)

    def fault(self) -> str:
        """Groups are of equal size, and a skip fits."""
        even = not any(channels % self.groups for channels in (self.cin, self.mid, self.cout))
        return super().fault() if even else "groups divide all channels"


@dataclass(frozen=True)
class PreConv(_Windowed):
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
class PreResidual(_Windowed):
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
class AvgPool(_Spatial):
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
class Zero(_Spatial):
    """Zeros of the input's shape, computed from it."""

    kind: ClassVar[str] = "zero"

    @property
    def peak_activation_bytes(self) -> int:
        """Input and output."""
        return 2 * FP32_BYTES * self.h * self.w * self.cin


@dataclass(frozen=True)
class Add(_Spatial):
    """The sum of two inputs of one shape."""

    kind: ClassVar[str] = "add"

    @property
    def peak_activation_bytes(self) -> int:
        """Two inputs and the output."""
        return 3 * FP32_BYTES * self.h * self.w * self.cin


@dataclass(frozen=True)
class Norm(_Spatial):
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


_ALL = (Overhead, Conv, MBConv, GlobalPool, Linear, FBNetBlock, PreConv, PreResidual, AvgPool, Zero, Add, Norm)
KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in _ALL}


def parse_layer(key: str) -> Layer:
    """The layer of a key.

    Raises:
        InputError: not a key: unknown kind or field, or a value out of range.
    """
    kind, *parts = key.split("-")
    if kind not in KINDS:
        raise InputError(f"not a layer: {key!r}; kinds are {', '.join(KINDS)}", layer=key)
    layer_type = KINDS[kind]
    names = [field.name for field in fields(layer_type)]
    pairs = [part.partition(":")[::2] for part in parts]
    if [name for name, _ in pairs] != names:
        raise InputError(f"not a layer: {key!r}; {kind} has the fields {', '.join(names) or 'none'}", layer=key)
    layer = layer_type(**{name: _parse_value(key, name, text) for name, text in pairs})
    if fault := layer.fault():
        raise InputError(f"{key!r}: {fault}", layer=key)
    return layer


def _parse_value(key: str, name: str, text: str) -> int | str:
    if name == "act":
        if text not in ACTIVATIONS:
            raise InputError(f"{key!r}: act is one of {', '.join(ACTIVATIONS)}", layer=key)
        return text
    may_be_zero = name in ("se", "skip", "norm")
    largest = 1 if name in ("skip", "norm") else _LARGEST
    if not _NUMBER.fullmatch(text) or not (0 if may_be_zero else 1) <= int(text) <= largest:
        raise InputError(f"{key!r}: {name} is no valid number: {text!r}", layer=key)
    return int(text)


def make_divisible(value: float, divisor: int = 8) -> int:
    """Channels as the MobileNets round them: a multiple of ``divisor``, at least one, not below 90 % of ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
