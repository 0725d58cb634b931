"""The operators of any TFLite file with their tensors: what a profile's times are set against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError

Shape = tuple[int, ...]
_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "INT32": 32, "UINT8": 8, "INT64": 64, "BOOL": 8, "INT16": 16, "INT8": 8,
    "FLOAT64": 64, "UINT64": 64, "UINT32": 32, "UINT16": 16, "INT4": 4, "BFLOAT16": 16,
}  # fmt: skip
_SIZES = {code: _BITS[name] for name, code in vars(schema.TensorType).items() if name in _BITS}


_UNCOUNTED = {
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_3D", "CONV_3D_TRANSPOSE", "CUSTOM", "LSTM",
    "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
}  # fmt: skip


@dataclass(frozen=True)
class TfliteOperator:
    """An operator of the main subgraph: its type, multiply-accumulates, and bytes of all tensors it touches.

    ``macs`` is None where the tensors do not tell them.
    """

    type: str
    macs: int | None
    moved_bytes: int


def read_operators(artifact: Artifact) -> list[TfliteOperator]:
    """The operators in execution order.

    Raises:
        ModelError: the file cannot be understood.
    """
    try:
        model = schema.ModelT.InitFromPackedBuf(artifact.data, 0)
        return list(_operators(model))
    except (
        Exception
    ) as error:  # in a damaged file any offset leads anywhere: struct, flatbuffers, numpy raise their own
        raise ModelError(f"{artifact.name}: not a TFLite model: {error}", artifact=artifact.name) from error


def _operators(model: Any) -> Iterator[TfliteOperator]:
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = _NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        read = [graph.tensors[index] for index in _indices(operator.inputs) if index >= 0]
        written = [graph.tensors[index] for index in _indices(operator.outputs)]
        moved = sum(math.prod(_shape(tensor)) * _SIZES.get(tensor.type, 32) // 8 for tensor in (*read, *written))
        yield TfliteOperator(kind, _macs(kind, [_shape(t) for t in read], [_shape(t) for t in written]), moved)


def _shape(tensor: Any) -> Shape:
    return tuple(int(side) for side in tensor.shape) if tensor.shape is not None else ()


def _indices(found: Any) -> list[int]:
    return [] if found is None else list(found)


def _macs(kind: str, read: list[Shape], written: list[Shape]) -> int | None:
    """One for each weight that goes into each output value."""
    if kind in _UNCOUNTED:
        return None
    if len(read) < 2 or not written:
        return 0
    outputs, weight = math.prod(written[0]), read[1]
    summed = {
        "CONV_2D": weight[1:],  # OHWI
        "DEPTHWISE_CONV_2D": weight[1:-1],  # 1HWC
        "FULLY_CONNECTED": weight[-1:],
        "BATCH_MATMUL": read[0][-1:],
    }
    if kind == "TRANSPOSE_CONV" and len(read) > 2:
        return math.prod(read[2]) * math.prod(weight[:-1])
    return outputs * math.prod(summed[kind]) if kind in summed else 0
