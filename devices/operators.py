"""An operator's times, as a runtime's own profiler tells them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


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
    """A model's operators, and beside them ``whole_us``: its inferences without the profiler, taken in between."""

    operators: list[OperatorTimes]
    whole_us: list[float]


def to_wire(profile: OperatorProfile) -> dict[str, Any]:
    """A profile as JSON holds it."""
    return asdict(profile)


def from_wire(record: dict[str, Any]) -> OperatorProfile:
    """A profile from what :func:`to_wire` made."""
    shapes = ("input_shapes", "output_shapes")
    each = ({**own, **{name: tuple(map(tuple, own[name])) for name in shapes}} for own in record["operators"])
    return OperatorProfile([OperatorTimes(**own) for own in each], record["whole_us"])
