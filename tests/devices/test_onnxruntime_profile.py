"""ONNX Runtime's profiles: nodes told apart, bodies inside of what runs them, nothing lost in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netdyno.base.errors import InputError
from netdyno.devices.onnxruntime_profile import parse_nodes, parse_profile


def _event(name: str, kind: str, start: int, duration: int, **arguments: Any) -> str:
    arguments = {"op_name": kind, **arguments}
    event = {"cat": "Node", "tid": 1, "ts": start, "dur": duration, "name": f"{name}_kernel_time", "args": arguments}
    return json.dumps(event)


def _run(start: int, duration: int) -> str:
    return json.dumps({"cat": "Session", "tid": 1, "ts": start, "dur": duration, "name": "model_run", "args": {}})


def _profile(*events: str) -> str:
    return "[\n" + ",\n".join(events) + "\n]\n"


NAMELESS = _profile(
    _event("", "Conv", 1, 12_000),
    _event("", "BatchNormalization", 12_010, 9000),
    _event("", "Relu", 21_020, 500),
    _run(0, 22_000),
)


def test_nodes_of_one_name_are_told_apart_by_type() -> None:
    assert [(own.type, own.latency_us) for own in parse_profile(NAMELESS, "p")] == [
        ("Conv", [12_000.0]),
        ("BatchNormalization", [9000.0]),
        ("Relu", [500.0]),
    ]


@pytest.mark.parametrize("damage", ["nonsense", '{"cat" : "Node", "ts" : }', "[1, 2", '{"cat": "Node",', "]]x", '"a'])
def test_what_is_no_event_loses_nothing_in_silence(damage: str) -> None:
    lines = NAMELESS.splitlines()
    lines.insert(2, f"{damage},")
    with pytest.raises(InputError, match=r"line 3 is no event|without its time"):
        parse_profile("\n".join(lines), "p")
    with pytest.raises(InputError, match="p: no profile"):
        parse_profile("\n".join([*lines[:2], "{}]"]), "p")


def test_a_node_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="without a name"):
        parse_profile(_profile('{"cat": "Node", "ts": 1, "dur": 1}', _event("a", "Relu", 2, 1)), "p")


def test_every_cut_of_the_last_event_is_the_end() -> None:
    text = _profile(_event("a", "Relu", 1, 5), _event("b", "Exp", 9, 5, provider='quo"ted}'))
    begin = text.index('{"cat"', 5)
    for end in range(begin, text.rindex("}") + 1):
        assert [own.type for own in parse_profile(text[:end], "p")] == ["Relu"]


def test_bodies_are_inside_of_what_runs_them() -> None:
    """Two inferences of a loop of 100 µs with two turns, whose nodes have the names of others outside."""
    events = []
    for begin in (0, 1000):
        events += [
            _event("Add_0", "Add", begin + 1, 7, node_index="0"),
            _event("Add_0", "Add", begin + 12, 10, node_index="0", output_type_shape=[{"float": [1]}]),
            _event("If_1", "If", begin + 40, 5, node_index="1"),
            _event("Add_0", "Add", begin + 50, 10, node_index="0", output_type_shape=[{"float": [2]}]),
            _event("Exp_0", "Exp", begin + 62, 4, node_index="0"),
            _event("If_1", "If", begin + 61, 20, node_index="1"),
            _event("Loop_1", "Loop", begin + 10, 100, node_index="1"),
            _run(begin, 120),
        ]
    nodes, inferences = parse_nodes(_profile(*events), "p")
    assert inferences == 2
    told = {(node.path, node.name): node.operator(inferences) for node in nodes}
    assert {key: (own.latency_us, own.calls, own.inside) for key, own in told.items()} == {
        ((), "Add_0"): ([7.0] * 2, 1, 0),
        ((), "Loop_1"): ([55.0] * 2, 1, 5),
        (("Loop_1",), "Add_0"): ([20.0] * 2, 2, 0),
        (("Loop_1",), "If_1"): ([21.0] * 2, 2, 1),
        (("Loop_1", "If_1"), "Exp_0"): ([4.0] * 2, 1, 0),
    }
    shapes = [(own.output_shapes, own.calls) for own in told[("Loop_1",), "Add_0"].executions]
    assert shapes == [(((1,),), 1.0), (((2,),), 1.0)]
    kept, inferences = parse_nodes(_profile(*events), "p", skipped=1)
    assert inferences == 1 and len(kept[0].times_us) == 1
