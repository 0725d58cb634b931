"""An operator's times, as a runtime's own profiler tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.devices.wire import Frame

WARM_UP = 5
TURN = 10
"""Inferences with the profiler, then as many without."""
Shape = tuple[int, ...]
Shapes = tuple[Shape | None, ...]
"""Shapes of an operator's tensors by position; None for an optional one that is not there."""


@dataclass(frozen=True)
class Execution:
    """Executions of one operator with the same shapes: ``calls`` per inference.

    ``moved_bytes`` are those of all tensors that a call reads or writes, ``dtype`` is that of the first input. What
    the runtime does not tell is empty, or None.
    """

    input_shapes: Shapes = ()
    output_shapes: Shapes = ()
    moved_bytes: int | None = None
    dtype: str = ""
    calls: float = 1.0


@dataclass(frozen=True)
class OperatorTimes:
    """An operator in execution order: ``latency_us`` of each inference, all its calls together.

    ``provider`` is what executes it: an execution provider, a delegate, or the runtime itself. Operators of loops
    may run with several shapes, hence several ``executions``. ``attributes`` are those of an ONNX node, ``original``
    is its weight's shape before the runtime padded it, empty if that is unknown. ``subgraph`` is that of a TFLite
    model. Of an operator that runs others (If, Loop, WHILE) the time is what it adds to theirs, and ``inside`` is how
    many ran per inference.
    """

    type: str
    name: str
    provider: str = ""
    executions: tuple[Execution, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    original: Shape | None = None
    subgraph: int = 0
    inside: float = 0.0
    latency_us: list[float] = field(default_factory=list)

    @property
    def calls(self) -> float:
        """Executions per inference."""
        return sum(execution.calls for execution in self.executions) if self.executions else 1.0


@dataclass(frozen=True)
class OperatorProfile:
    """A model's operators, and beside them ``whole_us``: its inferences without the profiler, taken in between.

    Where a single inference is asked for it is the profiled one, and ``whole_us`` is empty.

    ``partitions`` is how many parts of the model a delegate executes; None where it is not told. ``tensors`` are
    the shapes of a TFLite model's tensors by subgraph, where they differ from those in its file.
    """

    operators: list[OperatorTimes]
    whole_us: list[float]
    partitions: int | None = None
    tensors: tuple[Shapes, ...] = ()


def turns(inferences: int) -> list[int]:
    """So many inferences in turns."""
    return [min(TURN, inferences - done) for done in range(0, inferences, TURN)]


def to_wire(profile: OperatorProfile) -> Frame:
    """A profile as a frame carries it: all of it in arrays, since a header is short and operators are many."""
    lengths = [len(operator.latency_us) for operator in profile.operators]
    times = np.concatenate([np.empty(0), *(operator.latency_us for operator in profile.operators)])
    facts = [asdict(replace(operator, latency_us=[])) for operator in profile.operators]
    arrays: dict[str, NDArray[Any]] = {
        "times_us": times.astype(np.float64),
        "whole_us": np.array(profile.whole_us, np.float64),
    }
    described = {"operators": facts, "lengths": lengths, "tensors": profile.tensors}
    arrays["facts"] = np.frombuffer(json.dumps(described).encode(), np.uint8)
    return Frame({}, arrays)


def from_wire(frame: Frame) -> OperatorProfile:
    """A profile from what :func:`to_wire` made."""
    described = json.loads(frame.arrays["facts"].tobytes())
    times = np.split(frame.arrays["times_us"], np.cumsum(described["lengths"])[:-1])
    operators = [_operator(facts, own.tolist()) for facts, own in zip(described["operators"], times, strict=True)]
    tensors = tuple(_shapes(shapes) for shapes in described["tensors"])
    return OperatorProfile(operators, frame.arrays["whole_us"].tolist(), tensors=tensors)


def _operator(facts: dict[str, Any], latency_us: list[float]) -> OperatorTimes:
    executions = tuple(
        Execution(**{**own, **{side: _shapes(own[side]) for side in ("input_shapes", "output_shapes")}})
        for own in facts["executions"]
    )
    original = None if facts["original"] is None else tuple(facts["original"])
    return OperatorTimes(**{**facts, "executions": executions, "original": original, "latency_us": latency_us})


def _shapes(sides: list[list[int] | None]) -> Shapes:
    return tuple(None if shape is None else tuple(shape) for shape in sides)
