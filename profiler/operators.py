"""A user's own model, operator by operator: time, share, work, and which roof of the device each stands under.

The times are those of the runtime's own profiler; the whole is measured without it, in turns with it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netdyno.base.artifact import Artifact
from netdyno.devices.device import Device, Settings
from netdyno.devices.operators import OperatorProfile, OperatorTimes
from netdyno.exporters.graph import FP32_BYTES, GraphBuilder
from netdyno.exporters.tflite_operators import read_operators
from netdyno.exporters.writers import write
from netdyno.profiler.layers import count_operators
from netdyno.profiler.roofs import Roofs
from netdyno.profiler.statistics import NORMAL_95

INFERENCES, LEAST_INFERENCES = 120, 20
STARTS = 3
"""Processes that profile one after the other: a restart moves figures more than an inference does."""
BUDGET_S = 10.0
TRIMMED = 0.1
"""Share of the readings that is left out at either end: whole µs are averaged, but hiccups are not."""
CHAIN = 64
"""Operators of the model that tells the profiler's own overhead."""
DELEGATES = ("XNNPACK", "GPU", "NNAPI", "CPUExecutionProvider")
_CLASSES = {
    "Convolution": "convolution",
    "Fully Connected": "convolution",
    "Deconvolution": "convolution",
    "Batch Matrix Multiply": "convolution",
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "convolution",
    "FULLY_CONNECTED": "convolution",
    "TRANSPOSE_CONV": "convolution",
    "BATCH_MATMUL": "convolution",
    "Add": "ADD",
    "Subtract": "SUB",
    "Multiply": "MUL",
    "HardSwish": "HARD_SWISH",
    "Sigmoid": "LOGISTIC",
    "Mean": "MEAN",
    "Max Pooling": "MAX_POOL_2D",
    "Average Pooling": "AVERAGE_POOL_2D",
    "Softmax": "SOFTMAX",
}
"""What XNNPACK calls operators (up to the first bracket) and what the file calls them, as one."""


_WEIGHTS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}
"""Which input of a convolution is its weight."""
_UNCOUNTED = {
    "Attention", "DeformConv", "Einsum", "GRU", "GroupQueryAttention", "LSTM", "MatMulBnb4", "MatMulNBits",
    "MultiHeadAttention", "PackedAttention", "QAttention", "QGemm", "QMoE", "MoE", "RNN",
}  # fmt: skip
"""Operators that multiply and whose shapes do not tell how often."""
_PRODUCTS = ("MatMul", "MatMulInteger", "DynamicQuantizeMatMul", "Gemm", "QLinearMatMul")

Work = tuple[int | None, int | None]
"""Multiply-accumulates and bytes moved, as far as they are known."""


@dataclass(frozen=True)
class OperatorReport:
    """An operator: mean latency over process starts with its interval, its share, its work, and its roof.

    ``macs`` and ``moved_bytes`` are None where nothing tells them. ``roof`` is ``compute`` or ``memory``, whichever
    bounds its ratio of work to bytes; ``of_roof`` is the share of that roof that it reaches.
    """

    position: int
    type: str
    name: str
    provider: str
    latency_ms: float
    latency_ms_low: float
    latency_ms_high: float
    samples: int
    starts_ms: tuple[float, ...]
    share: float
    macs: int | None = None
    moved_bytes: int | None = None
    roof: str = ""
    of_roof: float | None = None


@dataclass(frozen=True)
class OperatorsReport:
    """A model's operators, and how much of an inference they add up to.

    ``whole_ms`` is an inference without the profiler, ``covered`` the operators' sum relative to it. ``overhead_ms``
    is what the profiler itself adds to each operator; it is taken off. ``partitions`` is how many parts of the model
    a delegate has; None where it is not told.
    """

    operators: tuple[OperatorReport, ...]
    whole_ms: float
    covered: float
    overhead_ms: float
    outside_delegate: tuple[str, ...]
    inferences: int
    partitions: int | None = None


def profile_operators(
    artifact: Artifact, device: Device, settings: Settings, roofs: Roofs, budget_s: float = BUDGET_S
) -> OperatorsReport:
    """Profile a model's operators on a device, in about the time of the budget, but over 20 inferences at least.

    Raises:
        ModelError: the runtime refuses the model, or has no profiler of operators.
        DeviceError: the device was lost.
    """
    overhead_ms = _overhead_ms(device, settings)
    with device.open(artifact, settings) as session:
        once_s = float(session.time(2)[-1]) / 1e9
    inferences = int(np.clip(budget_s / (2 * once_s), LEAST_INFERENCES, INFERENCES)) // STARTS + 1
    profiles = [device.profile_operators(artifact, settings, inferences) for _ in range(STARTS)]
    operators = profiles[0].operators
    times = [_latency(starts, overhead_ms) for starts in _across_starts(profiles)]
    total = sum(own.mean_ms for own in times) or math.inf
    works = _works(artifact, operators)
    each = enumerate(zip(operators, times, works, strict=True))
    reports = tuple(_report(i, own, time, total, work, roofs) for i, (own, time, work) in each)
    whole_ms = float(np.median([time for profile in profiles for time in profile.whole_us])) / 1e3
    outside = Counter(own.type for own in reports if own.provider and own.provider not in DELEGATES)
    names = tuple(f"{count} × {kind}" for kind, count in outside.most_common())
    covered = sum(own.latency_ms for own in reports) / whole_ms
    return OperatorsReport(
        reports, whole_ms, covered, overhead_ms, names, inferences * STARTS, profiles[0].partitions
    )


def _report(
    position: int, own: OperatorTimes, time: _Latency, total: float, work: Work, roofs: Roofs
) -> OperatorReport:
    roof, of_roof = roofs.under(time.mean_ms, *work)
    return OperatorReport(
        position=position,
        type=own.type,
        name=own.name,
        provider=own.provider,
        latency_ms=time.mean_ms,
        latency_ms_low=time.low_ms,
        latency_ms_high=time.high_ms,
        samples=time.samples,
        starts_ms=time.starts_ms,
        share=time.mean_ms / total,
        macs=work[0],
        moved_bytes=work[1],
        roof=roof,
        of_roof=of_roof,
    )


@dataclass(frozen=True)
class _Latency:
    """Mean over process starts with its interval, readings, and the starts' own means."""

    mean_ms: float
    low_ms: float
    high_ms: float
    samples: int
    starts_ms: tuple[float, ...]


def _across_starts(profiles: Sequence[OperatorProfile]) -> list[list[list[float]]]:
    """Of each operator of the first profile the times in every start that tells of it."""
    by_key: dict[str, list[list[float]]] = {}
    for profile in profiles:
        named = count_operators((own.type, own.name) for own in profile.operators)
        for operator, own in zip(named, profile.operators, strict=True):
            by_key.setdefault(operator.key, []).append(own.latency_us)
    first = count_operators((own.type, own.name) for own in profiles[0].operators)
    return [by_key[operator.key] for operator in first]


def _latency(starts: Sequence[Sequence[float]], overhead_ms: float) -> _Latency:
    """Trimmed means of each start less the overhead, and how far their mean is known from how they scatter."""
    means = [max(_trimmed_mean_ms(start) - overhead_ms, 0.0) for start in starts]
    mean, samples = float(np.mean(means)), sum(map(len, starts))
    half = NORMAL_95 * float(np.std(means, ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else 0.0
    return _Latency(mean, max(mean - half, 0.0), mean + half, samples, tuple(means))


def _trimmed_mean_ms(latency_us: Sequence[float]) -> float:
    values = np.sort(np.array(latency_us)) / 1e3
    cut = int(TRIMMED * len(values))
    return float(values[cut : len(values) - cut].mean())


def _overhead_ms(device: Device, settings: Settings) -> float:
    """What the profiler adds to an operator: of operators without work, their times beyond those of the whole."""
    builder = GraphBuilder("chain")
    x = builder.input("x", (1, 1, 1, 1))
    for i in range(CHAIN):
        x = builder.unary(("relu", "h_swish")[i % 2], x)
    chain = write(builder.build(x), device.formats[settings.runtime])
    profile = device.profile_operators(chain, settings, INFERENCES)
    operators_ms = sum(_trimmed_mean_ms(operator.latency_us) for operator in profile.operators)
    beyond = operators_ms - float(np.median(profile.whole_us)) / 1e3
    return max(beyond / len(profile.operators), 0.0)


def _works(artifact: Artifact, operators: Sequence[OperatorTimes]) -> list[Work]:
    """The work of each operator: from its shapes, or from the file where the runtime tells none."""
    if any(operator.input_shapes for operator in operators):
        return [(macs_of(operator), _moved(operator)) for operator in operators]
    return _from_file(artifact, operators) if artifact.format == "tflite" else [(None, None)] * len(operators)


def _moved(operator: OperatorTimes) -> int | None:
    """Bytes that the runtime tells of, and at least a product's matrices: on one packed beforehand it is silent."""
    read, written = operator.input_shapes, operator.output_shapes
    if operator.moved_bytes is None or operator.type.removeprefix("Fused") not in ("MatMul", "Gemm") or not written:
        return operator.moved_bytes
    rows, columns = math.prod(written[0][:-1]), math.prod(written[0][-1:])
    inner = math.prod(read[0]) // max(rows, 1) if read else 0
    return max(operator.moved_bytes, FP32_BYTES * (rows * inner + inner * columns + rows * columns))


def macs_of(operator: OperatorTimes) -> int | None:
    """Multiply-accumulates of an ONNX operator as it is executed; None where its shapes do not tell."""
    read, written = operator.input_shapes, operator.output_shapes
    kind = operator.type.removeprefix("Nhwc").removeprefix("Fused")
    try:
        if kind in _WEIGHTS:
            summed = math.prod(read[_WEIGHTS[kind]][1:])
            return summed * math.prod((read if kind == "ConvTranspose" else written)[0])
        if kind in _PRODUCTS:
            # Whichever side is transposed: what the first input has beyond the output's rows is summed over.
            return math.prod(read[0]) // max(math.prod(written[0][:-1]), 1) * math.prod(written[0])
    except IndexError:
        return None
    return None if kind in _UNCOUNTED else 0


def _from_file(artifact: Artifact, operators: Sequence[OperatorTimes]) -> list[Work]:
    """Work from the file's operators: those of one class are met in order, where there are as many of them."""
    written: dict[str, list[Work]] = defaultdict(list)
    for each in read_operators(artifact):
        written[_CLASSES.get(each.type, each.type)].append((each.macs, each.moved_bytes))
    classes = [_class(operator) for operator in operators]
    counts = Counter(classes)
    known = {kind: iter(works) for kind, works in written.items() if len(works) == counts[kind]}
    return [next(known[kind]) if kind in known else (None, None) for kind in classes]


def _class(operator: OperatorTimes) -> str:
    name = operator.type.partition(" (")[0]
    return _CLASSES.get(name, name)
