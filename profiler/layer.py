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
class Conv(_Spatial):
    """A convolution padded by half its kernel, with batch norm (``norm`` 1) or without, then ``act``."""

    kind: ClassVar[str] = "conv"
    cout: int
    kernel: int
    stride: int
    norm: int
    act: str

    @property
    def out_pixels(self) -> int:
        """Height times width of the output."""
        return -(-self.h // self.stride) * -(-self.w // self.stride)

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
class MBConv(_Spatial):
    """An inverted bottleneck: 1×1 expansion to ``mid``, depthwise, squeeze-and-excitation, 1×1 projection.

    There is no expansion where ``mid`` equals ``cin``, and no squeeze-and-excitation where ``se`` (its reduced
    channels) is 0; ``skip`` 1 adds the input to the output. Source: Howard et al. 2019 (MobileNetV3), Fig. 4.
    """

    kind: ClassVar[str] = "mbconv"
    cout: int
    mid: int
    kernel: int
    stride: int
    act: str
    se: int
    skip: int

    @property
    def expands(self) -> bool:
        """Whether there is an expansion convolution."""
        return self.mid != self.cin

    @property
    def out_pixels(self) -> int:
        """Height times width of the output."""
        return -(-self.h // self.stride) * -(-self.w // self.stride)

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


KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in (Overhead, Conv, MBConv, GlobalPool, Linear)}


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
    if getattr(layer, "kernel", 1) % 2 == 0:
        raise InputError(f"{key!r}: a kernel padded by half of it has an odd size", layer=key)
    if isinstance(layer, MBConv) and layer.skip and (layer.stride != 1 or layer.cin != layer.cout):
        raise InputError(f"{key!r}: a skip needs an output of the input's shape", layer=key)
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
