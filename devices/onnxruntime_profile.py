"""ONNX Runtime's profile: a JSON list of trace events in µs, one an operator and execution.

A session that was not ended leaves the last event unfinished, and excerpts have no brackets; both are read. Of the
events only ``…_kernel_time`` tell how long an operator ran; older versions have fences before and after. An event is
written when its operator ends, so those of a loop's body come before the loop's own.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netdyno.base.errors import InputError
from netdyno.devices.operators import Execution, OperatorTimes, Shapes

CONTROL = ("If", "Loop", "Scan", "SequenceMap")
_KERNEL = "_kernel_time"
_TOKEN = re.compile(r"_token_\d+$")
"""What the optimiser appends to nodes of its own: another number in every session, none to the first of a type."""
_SEPARATOR = re.compile(r"[\s,\]]*")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)', re.DOTALL)
_POSITIONS = ("node_index", "exec_plan_index", "graph_index")
_Told = tuple[Shapes, Shapes, int | None, str]
PARTIAL = ("Gather", "GatherElements", "GatherND", "Slice")
"""Operators that read as much of their first input as they write."""


@dataclass(frozen=True)
class _Call:
    """One execution of a node; ``inner`` are those of its body."""

    event: Mapping[str, Any]
    inner: Sequence[_Call] = ()

    @property
    def arguments(self) -> Mapping[str, Any]:
        arguments = self.event.get("args")
        return arguments if isinstance(arguments, dict) else {}

    @property
    def name(self) -> str:
        return str(self.event["name"]).removesuffix(_KERNEL)

    @property
    def key(self) -> tuple[str, ...]:
        """Nodes may be nameless, or all of one name, so name, type and position together."""
        arguments = self.arguments
        return (self.name, *(str(arguments.get(field)) for field in ("op_name", *_POSITIONS)))


@dataclass
class Node:
    """A node with its times by inference; ``path`` holds the names of the nodes whose bodies it is in."""

    path: tuple[str, ...]
    call: _Call
    times_us: dict[int, float] = field(default_factory=dict)
    told: Counter[_Told] = field(default_factory=Counter)
    inside: int = 0

    @property
    def type(self) -> str:
        """The type of the operator."""
        kind = self.call.arguments.get("op_name")
        return kind if isinstance(kind, str) else ""

    @property
    def name(self) -> str:
        """The name in the profile."""
        return self.call.name

    def operator(self, inferences: int) -> OperatorTimes:
        """The node as an operator."""
        executions = tuple(Execution(*told, calls=count / inferences) for told, count in self.told.items())
        provider = self.call.arguments.get("provider")
        base, name = _TOKEN.sub("", self.name), self.name
        if base != name or base == self.type:
            written = executions[0].output_shapes
            name = " ".join([base, *("x".join(map(str, shape or ())) for shape in written)])
        return OperatorTimes(
            self.type,
            name,
            provider if isinstance(provider, str) else "",
            executions,
            inside=self.inside / inferences,
            latency_us=list(self.times_us.values()),
        )


def parse_profile(text: str, source: str) -> list[OperatorTimes]:
    """Operators in the order in which they first ran.

    Raises:
        InputError: ``source`` is no such profile, or tells of no operator.
    """
    nodes, inferences = parse_nodes(text, source)
    return [node.operator(inferences) for node in nodes]


def parse_nodes(text: str, source: str, skipped: int = 0) -> tuple[list[Node], int]:
    """Nodes in the order in which they first ran, and the number of inferences; the first ``skipped`` are left out.

    Where the profile tells of no inference, each execution of a node counts as one.

    Raises:
        InputError: ``source`` is no such profile, or tells of no operator.
    """
    events = _events(text, source)
    ends = sorted(_end(event) for event in events if event.get("name") == "model_run")
    found: dict[tuple[Any, ...], Node] = {}
    for call in _calls(events, source):
        run = bisect_right(ends, _start(call.event)) if ends else -1
        if not ends or run >= skipped:
            _add(found, call, (), run)
    if not found:
        raise InputError(f"{source}: no profile of ONNX Runtime: no operator in it")
    most = max(len(node.times_us) for node in found.values())
    return list(found.values()), max(len(ends) - skipped, 1) if ends else most


def _calls(events: Sequence[dict[str, Any]], source: str) -> list[_Call]:
    """Executions that are in no other, in order: one of a control flow holds those that began after it, and ended."""
    open_: list[_Call] = []
    for event in events:
        name, thread = event.get("name"), event.get("tid")
        if event.get("cat") != "Node":
            continue
        if not isinstance(name, str):
            raise InputError(f"{source}: no profile of ONNX Runtime: a node's event without a name")
        if not name.endswith(_KERNEL):
            continue
        call, inner = _Call(event), []
        if call.arguments.get("op_name") in CONTROL:
            while open_ and open_[-1].event.get("tid") == thread and _start(open_[-1].event) >= _start(event):
                inner.append(open_.pop())
        open_.append(_Call(event, inner[::-1]))
    return sorted(open_, key=lambda call: _start(call.event))


def _add(found: dict[tuple[Any, ...], Node], call: _Call, path: tuple[tuple[str, ...], ...], run: int) -> int:
    """Add an execution and those inside of it to their nodes; how many executions these are."""
    names = tuple(key[0] for key in path)
    node = found.setdefault((path, call.key), Node(names, call))
    count = sum(_add(found, inner, (*path, call.key), run) for inner in call.inner)
    own = max(_duration(call.event) - sum(_duration(inner.event) for inner in call.inner), 0.0)
    run = run if run >= 0 else len(node.times_us)
    node.times_us[run] = node.times_us.get(run, 0.0) + own
    read, written = (_shapes(call.arguments.get(f"{side}_type_shape")) for side in ("input", "output"))
    node.told[read, written, _moved_bytes(call.arguments), _dtype(call.arguments)] += 1
    node.inside += count
    return count + 1


def _moved_bytes(arguments: Mapping[str, Any]) -> int | None:
    sizes = [arguments.get(name) for name in ("activation_size", "parameter_size", "output_size")]
    if not all(isinstance(size, str) and size.isdecimal() and len(size) < 16 for size in sizes):
        return None
    if arguments.get("op_name") in PARTIAL:
        return 2 * int(str(sizes[2]))
    return sum(int(str(size)) for size in sizes)


def _dtype(arguments: Mapping[str, Any]) -> str:
    """The type of the first input of ``[{"float": [1, 8]}, …]``."""
    entries = arguments.get("input_type_shape")
    first = entries[0] if isinstance(entries, list) and entries else None
    return str(next(iter(first), "")) if isinstance(first, dict) else ""


def _shapes(value: Any) -> Shapes:
    """Shapes of ``[{"float": [1, 8]}, …]``; what is anything else is left out."""
    entries = value if isinstance(value, list) else []
    shapes = [list(entry.values()) for entry in entries if isinstance(entry, dict)]
    return tuple(tuple(shape[0]) for shape in shapes if len(shape) == 1 and _is_shape(shape[0]))


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(size, int) and 0 <= size < 2**40 for size in value)


def _events(text: str, source: str) -> list[dict[str, Any]]:
    """The events one after the other; one that a killed process left unfinished is the end."""
    events: list[dict[str, Any]] = []
    decode, at = json.JSONDecoder().raw_decode, len(text) - len(text.lstrip(" \t\r\n["))
    while at < len(text):
        try:
            event, at = decode(text, at)
        except (ValueError, RecursionError) as error:
            if _is_unfinished(text[at:]):
                break
            line = text.count("\n", 0, at) + 1
            raise InputError(f"{source}: no profile of ONNX Runtime: line {line} is no event") from error
        if not isinstance(event, dict) or not _is_timed(event):
            raise InputError(f"{source}: no profile of ONNX Runtime: an event without its time")
        events.append(event)
        at = _SEPARATOR.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text, too
    return events


def _is_unfinished(rest: str) -> bool:
    """True where a text is the beginning of one event: what is lost with it is the last, and nothing that follows."""
    bare = _TEXT.sub("", rest)
    opened = sum(map(bare.count, "{[")) - sum(map(bare.count, "}]"))
    return rest.startswith("{") and opened > 0 and rest.count('"cat"') <= 1


def _is_timed(event: dict[str, Any]) -> bool:
    times = (event.get("ts"), event.get("dur"))
    return all(isinstance(t, int | float) and not isinstance(t, bool) and 0 <= t < 1e15 for t in times)


def _start(event: Mapping[str, Any]) -> float:
    return float(event["ts"])


def _duration(event: Mapping[str, Any]) -> float:
    return float(event["dur"])


def _end(event: Mapping[str, Any]) -> float:
    return _start(event) + _duration(event)
