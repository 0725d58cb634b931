"""Events of LiteRT's profiler: how many inferences were run decides what belongs to which operator."""

from __future__ import annotations

import pytest

from netdyno.base.errors import ModelError
from netdyno.devices.litert_events import BUILTIN, CALL, DELEGATED, TELEMETRY, Event, OperatorEvents

FRAME = 16
"""The type of an event around an inference, which runs of a signature lack."""


def _inference(subgraph: int | None, *, framed: bool) -> list[Event]:
    frame = [Event("", FRAME, 57, subgraph)] if framed else []
    own = [Event("ABS", BUILTIN, 6, subgraph), Event("Exp (NC)", DELEGATED, 17, subgraph)]
    return [*frame, Event("", CALL, 41, subgraph), *own, Event("", TELEMETRY, 1 << 32, subgraph)]


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("subgraph", [0, None])
def test_each_operator_is_there_once(framed: bool, subgraph: int | None) -> None:
    found = OperatorEvents()
    found.add(_inference(subgraph, framed=framed), 1)
    found.add(3 * _inference(None, framed=framed), 3)
    assert [(own.name, own.provider, own.latency_us, own.calls) for own in found.operators()] == [
        ("ABS:0", "LiteRT", [6.0] * 4, 1.0),
        ("Exp (NC):1", "XNNPACK", [17.0] * 4, 1.0),
    ]


@pytest.mark.parametrize("dropped", [1, 2])
def test_operators_that_vary_are_told_of(dropped: int) -> None:
    events = [event for event in 3 * _inference(None, framed=False) if event.type in (BUILTIN, DELEGATED)]
    with pytest.raises(ModelError, match="differ from inference to inference"):
        OperatorEvents().add(events[dropped:], 3)
    with pytest.raises(ModelError, match="6 operators' events in 2 inferences"):
        OperatorEvents().add(events, 2)


def test_loops_hold_their_bodies() -> None:
    """WHILE of 100 µs around two calls of a body, which itself holds an IF around a branch."""
    body = [
        Event("", CALL, 9, 2),
        Event("ADD", BUILTIN, 10, 2),
        Event("IF", BUILTIN, 25, 2),
        Event("", CALL, 8, 3),
        Event("Exp (NC)", DELEGATED, 20, 3),
        Event("", TELEMETRY, 0, 3),
        Event("MUL", BUILTIN, 5, 2),
    ]
    run = [
        Event("", CALL, 150, 0),
        Event("WHILE", BUILTIN, 100, 0),
        *body,
        *body,
        Event("ABS", BUILTIN, 7, 0),
    ]
    found = OperatorEvents()
    found.add(run, 1)
    found.add(run, 1)
    told = {own.name: (own.latency_us, own.calls, own.inside) for own in found.operators()}
    assert told == {
        "WHILE:0": ([20.0] * 2, 1, 8),
        "ADD:2.0": ([20.0] * 2, 2, 0),
        "IF:2.1": ([10.0] * 2, 2, 2),
        "Exp (NC):3.0": ([40.0] * 2, 2, 0),
        "MUL:2.2": ([10.0] * 2, 2, 0),
        "ABS:1": ([7.0] * 2, 1, 0),
    }
    assert sum(times[0] for times, _, _ in told.values()) == 100 + 7, "nothing is counted twice"


def test_turns_that_vary_are_averaged() -> None:
    def run(turns: int) -> list[Event]:
        turn = [Event("", CALL, 1, 1), Event("ADD", BUILTIN, 3, 1)]
        return [Event("WHILE", BUILTIN, 10 * turns + 1, 0), *turns * turn, Event("ABS", BUILTIN, 2, 0)]

    found = OperatorEvents()
    for turns in (1, 0, 2):
        found.add(run(turns), 1)
    told = {own.name: (own.latency_us, own.calls) for own in found.operators()}
    assert told["ADD:1.0"] == ([3.0, 0.0, 6.0], 1.0)
    assert told["WHILE:0"] == ([8.0, 1.0, 15.0], 1.0)
