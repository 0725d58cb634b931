"""ONNX Runtime's profile: a JSON list of trace events in µs, one an operator and inference.

A session that was not ended leaves the last event unfinished, and excerpts have no brackets; both are read. Of the
events only ``…_kernel_time`` tell how long an operator ran; older versions have fences before and after.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any

from netdyno.base.errors import InputError
from netdyno.devices.operators import OperatorTimes

_KERNEL = "_kernel_time"
_TOKEN = re.compile(r"_token_\d+$")
"""What the optimiser appends to nodes of its own: another number in every session, none to the first of a type."""
_CONTROL = ("If", "Loop", "Scan")
_SEPARATOR = re.compile(r"[\s,\]]*")
_POSITIONS = ("node_index", "exec_plan_index", "graph_index")


def parse_profile(text: str, source: str) -> list[OperatorTimes]:
    """Operators in the order in which they first ran.

    Raises:
        InputError: ``source`` is no such profile, or tells of no operator.
    """
    events = _events(text, source)
    ends = sorted(_end(event) for event in events if event.get("name") == "model_run")
    found: dict[tuple[str, ...], OperatorTimes] = {}
    run_of: dict[tuple[str, ...], int] = {}
    for event in sorted(events, key=_start):
        name, arguments = event.get("name"), event.get("args")
        if event.get("cat") != "Node" or not isinstance(name, str) or not name.endswith(_KERNEL):
            continue
        arguments = arguments if isinstance(arguments, dict) else {}
        if arguments.get("op_name") in _CONTROL:
            continue  # what its body takes is told of the body's own nodes
        key = (name, *(str(arguments.get(position)) for position in _POSITIONS))
        if key not in found:
            found[key] = _operator(name.removesuffix(_KERNEL), arguments)
        run = bisect_right(ends, _start(event))  # inferences that have ended before it
        if ends and run_of.get(key) == run:  # within a loop, or under a name that occurs twice
            found[key].latency_us[-1] += _duration(event)
        else:
            found[key].latency_us.append(_duration(event))
            run_of[key] = run
    if not found:
        raise InputError(f"{source}: no profile of ONNX Runtime: no operator in it")
    return list(found.values())


def _operator(name: str, arguments: dict[str, Any]) -> OperatorTimes:
    type_, provider = (arguments.get(field) for field in ("op_name", "provider"))
    read, written = (_shapes(arguments.get(f"{side}_type_shape")) for side in ("input", "output"))
    base = _TOKEN.sub("", name)
    if base != name or base == type_:
        name = " ".join([base, *("x".join(map(str, shape)) for shape in written)])
    known = (type_ if isinstance(type_, str) else "", name, provider if isinstance(provider, str) else "")
    return OperatorTimes(*known, read, written, _moved_bytes(arguments))


def _moved_bytes(arguments: dict[str, Any]) -> int | None:
    sizes = [arguments.get(name) for name in ("activation_size", "parameter_size", "output_size")]
    if not all(isinstance(size, str) and size.isdecimal() and len(size) < 16 for size in sizes):
        return None
    return sum(int(str(size)) for size in sizes)


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
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
        except (ValueError, RecursionError):
            break
        if not isinstance(event, dict) or not _is_timed(event):
            raise InputError(f"{source}: no profile of ONNX Runtime: an event without its time")
        events.append(event)
        at = _SEPARATOR.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text, too
    return events


def _is_timed(event: dict[str, Any]) -> bool:
    times = (event.get("ts"), event.get("dur"))
    return all(isinstance(t, int | float) and not isinstance(t, bool) and 0 <= t < 1e15 for t in times)


def _start(event: dict[str, Any]) -> float:
    return float(event["ts"])


def _duration(event: dict[str, Any]) -> float:
    return float(event["dur"])


def _end(event: dict[str, Any]) -> float:
    return _start(event) + _duration(event)
