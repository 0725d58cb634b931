"""``benchmark_model --op_profiling_output_mode=proto``: a ``tflite.profiling.BenchmarkProfilingData`` message.

The message types are built here from their field numbers; there is no generated code to keep in step.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from netdyno.devices.android.benchmark_log import Operators, Row

PACKAGE = "tflite.profiling"
_FIELDS = {
    "BenchmarkProfilingData": {
        "model_name": (1, "string"),
        "init_profile": (2, "ModelProfilingData"),
        "runtime_profile": (3, "ModelProfilingData"),
    },
    "ModelProfilingData": {
        "subgraph_profiles": (1, "SubGraphProfilingData*"),
        "delegate_profiles": (2, "DelegateProfilingData*"),
    },
    "SubGraphProfilingData": {
        "subgraph_name": (1, "string"),
        "subgraph_index": (2, "int32"),
        "per_op_profiles": (3, "OpProfileData*"),
    },
    "DelegateProfilingData": {"delegate_name": (1, "string"), "per_op_profiles": (2, "OpProfileData*")},
    "OpProfilingStat": {"avg": (3, "int64"), "sum": (8, "int64"), "count": (9, "int64")},
    "OpProfileData": {
        "node_type": (1, "string"),
        "inference_microseconds": (2, "OpProfilingStat"),
        "times_called": (4, "int64"),
        "name": (5, "string"),
        "run_order": (6, "int64"),
    },
}
"""Field numbers and types of what is read of each message; ``*`` is repeated."""
_SCALARS = {"string": 9, "int32": 5, "int64": 3}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


def parse_profile(content: bytes) -> Operators:
    """The operators of the inferences in run order: those of the main subgraph, and those inside of its delegates.

    Raises:
        ValueError: it is no such message, or has no operator.
    """
    profile = message_type("BenchmarkProfilingData")()
    try:
        profile.ParseFromString(content)
    except message.DecodeError as error:
        raise ValueError("neither text nor a profile of benchmark_model") from error
    runs = profile.runtime_profile
    found = Operators(tuple(_rows(runs.subgraph_profiles[:1])), tuple(_rows(runs.delegate_profiles)))
    if not found.main and not found.internal:
        raise ValueError("no operator in this profile")
    return found


def unread(content: bytes) -> Iterator[str]:
    """Contents of such a message, parsed before, beside the operators that :func:`parse_profile` returns."""
    profile = message_type("BenchmarkProfilingData")()
    profile.ParseFromString(content)
    if profile.init_profile.subgraph_profiles or profile.init_profile.delegate_profiles:
        yield "the operators of the initialisation"
    others = len(profile.runtime_profile.subgraph_profiles) - 1
    if others > 0:
        yield f"the operators of {others} other subgraphs"


def _rows(sections: Any) -> Iterator[Row]:
    for section in sections:
        for each in sorted(section.per_op_profiles, key=lambda op: op.run_order):
            statistics = each.inference_microseconds
            mean_us = statistics.sum / statistics.count if statistics.count else statistics.avg
            latency_ms = mean_us / 1e3 * max(each.times_called, 1)
            samples = max(statistics.count, 0) or None
            yield Row(_text(each.node_type), _text(each.name), latency_ms, samples)


def _text(value: str | bytes) -> str:
    """Text that is no UTF-8 comes as bytes."""
    return value if isinstance(value, str) else value.decode(errors="replace")


@cache
def message_type(name: str) -> Any:
    """The class of a message of :data:`PACKAGE`."""
    file = descriptor_pb2.FileDescriptorProto(name="profiling_info.proto", package=PACKAGE, syntax="proto2")
    for title, fields in _FIELDS.items():
        described = file.message_type.add(name=title)
        for field, (number, kind) in fields.items():
            own = described.field.add(name=field, number=number)
            own.label = _REPEATED if kind.endswith("*") else _OPTIONAL
            own.type = _SCALARS.get(kind, _MESSAGE)
            if own.type == _MESSAGE:
                own.type_name = f".{PACKAGE}.{kind.removesuffix('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
