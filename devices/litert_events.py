"""Events of LiteRT's profiler as operators' times, wherever the library runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netdyno.base.errors import ModelError
from netdyno.devices.operators import OperatorTimes

BUILTIN, DELEGATED, INSTRUMENTED = 2, 8, 16
"""Event types: an operator of the runtime, one of a delegate, and the frame around an inference."""

Event = tuple[str, int, int]
"""Tag, type and elapsed µs."""


def add_events(found: list[OperatorTimes], events: Iterable[Event]) -> None:
    """Add the times of some inferences to the operators, which are those of the first inference at first.

    Raises:
        ModelError: the operators differ from inference to inference.
    """
    for run in _inferences(events):
        _add(found, run)


def _inferences(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Operators' events by inference: a frame begins each."""
    run: list[Event] = []
    for event in events:
        if event[1] == INSTRUMENTED and run:
            yield run
            run = []
        elif event[1] in (BUILTIN, DELEGATED):
            run.append(event)
    if run:
        yield run


def _add(found: list[OperatorTimes], run: list[Event]) -> None:
    """One inference's times; operators go by position, since equal names are many."""
    if not found:
        found += [OperatorTimes(tag, f"{tag}:{i}", _provider(kind)) for i, (tag, kind, _) in enumerate(run)]
    if [operator.type for operator in found] != [tag for tag, _, _ in run]:
        raise ModelError("its operators differ from inference to inference")
    for operator, (_, _, elapsed_us) in zip(found, run, strict=True):
        operator.latency_us.append(float(elapsed_us))


def _provider(kind: int) -> str:
    return "XNNPACK" if kind == DELEGATED else "LiteRT"
