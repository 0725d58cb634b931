"""A device's roofs, measured: how fast it computes, and how fast it moves (Williams, Waterman & Patterson 2009)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError
from netdyno.devices.device import Device, Settings
from netdyno.exporters.graph import FP32_BYTES, Graph, GraphBuilder
from netdyno.exporters.writers import write
from netdyno.profiler.eight_bits import convolution

REPEAT = 10
CONVOLUTIONS = ((56, 128, 1), (28, 256, 1), (28, 128, 3), (14, 512, 1))
"""Side, channels and kernel of convolutions that keep a processor busy; the fastest of them is the roof."""
STREAMS = ((1, 32, 64, 64), (1, 64, 128, 128), (1, 64, 512, 512))
"""Activations of 0.5, 4 and 64 MiB: within near caches, far caches, and beyond those of most devices."""


@dataclass(frozen=True)
class Roofs:
    """Multiply-accumulates a second, FP32 and INT8, and bytes a second, that a runtime's operators reach at best.

    ``bytes_per_s`` is a pair of bytes moved and their rate for each size of the caches, ascending. What is None, or
    empty, was not measured.
    """

    macs_per_s: float | None = None
    bytes_per_s: tuple[tuple[int, float], ...] = ()
    int8_macs_per_s: float | None = None

    def under(
        self,
        latency_ms: float,
        macs: int | None,
        moved_bytes: int | None,
        precision: str = "fp32",
        calls: float = 1.0,
    ) -> tuple[str, float | None]:
        """Which roof bounds such an operator, and what share of it the operator reaches; nothing if not known.

        Latency, ``macs`` and ``moved_bytes`` are those of all calls; ``precision`` may be one that has no roof.
        """
        if macs is None or moved_bytes is None or latency_ms <= 0 or not (macs or moved_bytes):
            return "", None
        computes = {"fp32": self.macs_per_s, "int8": self.int8_macs_per_s}.get(precision)
        if not self.bytes_per_s or (macs and computes is None):
            return "", None
        fitting = [rate for size, rate in self.bytes_per_s if size >= moved_bytes / calls]
        rate = fitting[0] if fitting else self.bytes_per_s[-1][1]
        compute_s, memory_s = macs / computes if computes else 0.0, moved_bytes / rate
        return ("compute" if compute_s >= memory_s else "memory"), 1e3 * max(compute_s, memory_s) / latency_ms


def measure_roofs(device: Device, settings: Settings, int8: bool = False) -> Roofs:
    """Measure the roofs with this runtime and threads; that of INT8 if it is asked for and the runtime has one.

    Raises:
        DeviceError: the device was lost.
    """
    file_format = device.formats[settings.runtime]

    def seconds(graph: Graph) -> float:
        return _seconds(device, settings, write(graph, file_format))

    compute = max(macs / seconds(graph) for graph, macs in _convolutions())
    streams = tuple((moved, moved / seconds(graph)) for graph, moved in _streams())
    return Roofs(compute, streams, _int8_roof(device, settings, file_format) if int8 else None)


def _int8_roof(device: Device, settings: Settings, file_format: str) -> float | None:
    sizes = [(convolution(file_format, *size), size) for size in CONVOLUTIONS]
    try:
        return max(
            side**2 * (channels * kernel) ** 2 / _seconds(device, settings, artifact)
            for artifact, (side, channels, kernel) in sizes
        )
    except ModelError:  # a runtime without such kernels
        return None


def _convolutions() -> Iterator[tuple[Graph, int]]:
    generator = np.random.default_rng(0)
    for side, channels, kernel in CONVOLUTIONS:
        builder = GraphBuilder("convolution")
        weight = generator.standard_normal((channels, channels, kernel, kernel), np.float32)
        bias = np.zeros(channels, np.float32)
        x = builder.input("x", (1, channels, side, side))
        yield builder.build(builder.conv(x, weight, bias, name="conv")), side**2 * weight.size


def _streams() -> Iterator[tuple[Graph, int]]:
    for shape in STREAMS:
        builder = GraphBuilder("stream")
        yield builder.build(builder.unary("relu", builder.input("x", shape))), 2 * FP32_BYTES * math.prod(shape)


def _seconds(device: Device, settings: Settings, artifact: Artifact) -> float:
    """The fastest of some inferences: a roof is what can be reached."""
    with device.open(artifact, settings) as session:
        session.time(3)
        return float(session.time(REPEAT).min()) / 1e9
