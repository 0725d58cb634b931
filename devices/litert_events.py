"""Events of LiteRT's profiler as operators' times, wherever the library runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from netdyno.base.errors import ModelError
from netdyno.devices.operators import Execution, OperatorTimes

CALL, BUILTIN, DELEGATED, TELEMETRY = 1, 2, 8, 32
"""Event types: a call of the library's own, an operator of the runtime, one of a delegate, and what is no time."""
CONTROL = ("CALL", "CALL_ONCE", "IF", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE", "WHILE")
"""Operators that run other subgraphs."""


class Event(NamedTuple):
    """An event, in the order in which they began; ``subgraph`` is None where it is not told."""

    tag: str
    type: int
    elapsed_us: int
    subgraph: int | None = None


@dataclass
class _Found:
    operator: OperatorTimes
    calls: int = 0
    inside: int = 0


@dataclass
class OperatorEvents:
    """Operators from the events of inferences; how many these were decides how events are parted.

    Operators go by their position within a call of their subgraph, since equal names are many.
    """

    _inferences: int = 0
    _found: dict[tuple[int, int, str], _Found] = field(default_factory=dict)

    def add(self, events: Iterable[Event], inferences: int) -> None:
        """Add the events of some inferences.

        Raises:
            ModelError: the operators differ from inference to inference, and nothing tells where one ends.
        """
        told = [event for event in events if event.type in (CALL, BUILTIN, DELEGATED, TELEMETRY)]
        own = [event for event in told if event.type in (BUILTIN, DELEGATED)]
        if inferences == 1 and all(event.subgraph is not None for event in own):
            self._add(told)
            return
        length, more = divmod(len(own), inferences)
        runs = [own[i : i + length] for i in range(0, length * inferences, length or 1)]
        if more or any(_tags(run) != _tags(runs[0]) for run in runs):
            counts = f"{len(own)} operators' events in {inferences} inferences"
            raise ModelError(f"its operators differ from inference to inference ({counts}), so none can be timed")
        for run in runs:  # where an operator's body ends is not told, so its own time is not either
            self._add([event for event in run if event.tag not in CONTROL])

    def operators(self) -> list[OperatorTimes]:
        """The operators so far, in the order in which they first ran."""
        count = self._inferences
        return [
            replace(own.operator, executions=(Execution(calls=own.calls / count),), inside=own.inside / count)
            for own in self._found.values()
        ]

    def _add(self, run: Sequence[Event]) -> None:
        """One inference's events."""
        position: dict[int, int] = {}
        enclosing: list[tuple[int, _Found]] = []
        for event in run:
            subgraph = event.subgraph or 0
            while enclosing and subgraph == enclosing[-1][0]:
                enclosing.pop()
            if event.type == CALL:
                position[subgraph] = 0
            elif event.type != TELEMETRY:
                own = self._operator(event, subgraph, position.get(subgraph, 0))
                position[subgraph] = position.get(subgraph, 0) + 1
                for _, outer in enclosing:
                    outer.inside += 1
                if enclosing:
                    enclosing[-1][1].operator.latency_us[-1] -= event.elapsed_us
                if event.tag in CONTROL:
                    enclosing.append((subgraph, own))
        self._inferences += 1
        for found in self._found.values():
            times = found.operator.latency_us
            times[-1] = max(times[-1], 0.0)
            times += [0.0] * (self._inferences - len(times))

    def _operator(self, event: Event, subgraph: int, position: int) -> _Found:
        key = (subgraph, position, event.tag)
        if key not in self._found:
            name = f"{event.tag}:{subgraph}.{position}" if subgraph else f"{event.tag}:{position}"
            provider = "XNNPACK" if event.type == DELEGATED else "LiteRT"
            self._found[key] = _Found(OperatorTimes(event.tag, name, provider, subgraph=subgraph))
        found = self._found[key]
        times = found.operator.latency_us
        times += [0.0] * (self._inferences + 1 - len(times))
        times[-1] += event.elapsed_us
        found.calls += 1
        return found


def _tags(run: Sequence[Event]) -> list[str]:
    return [event.tag for event in run]
