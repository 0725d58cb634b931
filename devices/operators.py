"""An operator's times, as a runtime's own profiler tells them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.devices.wire import Frame


@dataclass(frozen=True)
class OperatorTimes:
    """An operator in execution order: ``latency_us`` of each inference.

    ``provider`` is what executes it: an execution provider, a delegate, or the runtime itself. Shapes, and the bytes
    of all tensors it touches, are as the runtime tells them; none where it does not.
    """

    type: str
    name: str
    provider: str = ""
    input_shapes: tuple[tuple[int, ...], ...] = ()
    output_shapes: tuple[tuple[int, ...], ...] = ()
    moved_bytes: int | None = None
    latency_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class OperatorProfile:
    """A model's operators, and beside them ``whole_us``: its inferences without the profiler, taken in between.

    ``partitions`` is how many parts of the model a delegate executes; None where it is not told.
    """

    operators: list[OperatorTimes]
    whole_us: list[float]
    partitions: int | None = None


def to_wire(profile: OperatorProfile) -> Frame:
    """A profile as a frame carries it: all of it in arrays, since a header is short and operators are many."""
    lengths = [len(operator.latency_us) for operator in profile.operators]
    times = np.concatenate([np.empty(0), *(operator.latency_us for operator in profile.operators)])
    facts = [asdict(replace(operator, latency_us=[])) for operator in profile.operators]
    arrays: dict[str, NDArray[Any]] = {
        "times_us": times.astype(np.float64),
        "whole_us": np.array(profile.whole_us, np.float64),
    }
    arrays["facts"] = np.frombuffer(json.dumps({"operators": facts, "lengths": lengths}).encode(), np.uint8)
    return Frame({}, arrays)


def from_wire(frame: Frame) -> OperatorProfile:
    """A profile from what :func:`to_wire` made."""
    described = json.loads(frame.arrays["facts"].tobytes())
    times = np.split(frame.arrays["times_us"], np.cumsum(described["lengths"])[:-1])
    operators = []
    for facts, own in zip(described["operators"], times, strict=True):
        shapes = {name: tuple(map(tuple, facts[name])) for name in ("input_shapes", "output_shapes")}
        operators.append(OperatorTimes(**{**facts, **shapes, "latency_us": own.tolist()}))
    return OperatorProfile(operators, frame.arrays["whole_us"].tolist())
