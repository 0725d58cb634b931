"""The operators of any TFLite file with their tensors: what a profile's times are set against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError

Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]
_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "INT32": 32, "UINT8": 8, "INT64": 64, "BOOL": 8, "INT16": 16, "INT8": 8,
    "FLOAT64": 64, "UINT64": 64, "UINT32": 32, "UINT16": 16, "INT4": 4, "BFLOAT16": 16,
}  # fmt: skip
_SIZES = {code: _BITS[name] for name, code in vars(schema.TensorType).items() if name in _BITS}
_EIGHT_BITS = (schema.TensorType.INT8, schema.TensorType.UINT8)
_UNCOUNTED = {"CUSTOM", "DELEGATE", "STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL", "STABLEHLO_CUSTOM_CALL"}
_PARTIAL = {"EMBEDDING_LOOKUP", "GATHER", "GATHER_ND", "SLICE", "STRIDED_SLICE"}
"""Operators that read as much of their first input as they write."""
_LSTM = (*range(1, 9), 16)
_CELLS = {
    "LSTM": _LSTM,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LSTM,
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*_LSTM, *range(18, 26), 33),
    "RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "BIDIRECTIONAL_SEQUENCE_RNN": (1, 2, 4, 5),
    "SVDF": (1, 2),
}
"""Which inputs of a recurrent operator are matrices that each step multiplies by, those of its gates included."""
_BASIC_LSTM_INPUTS = 5


@dataclass(frozen=True)
class TfliteOperator:
    """An operator of a subgraph: its type, multiply-accumulates, and bytes of all tensors it touches.

    ``macs`` and ``moved_bytes`` are None where the tensors do not tell them; ``precision`` is that of its arithmetic.
    """

    type: str
    macs: int | None
    moved_bytes: int | None
    subgraph: int = 0
    precision: str = "fp32"


def read_operators(artifact: Artifact, tensors: Sequence[Shapes] = ()) -> list[TfliteOperator]:
    """The operators of all subgraphs in execution order.

    ``tensors`` are shapes by subgraph and position, for a file that leaves some open.

    Raises:
        ModelError: the file cannot be understood.
    """
    try:
        model = schema.ModelT.InitFromPackedBuf(artifact.data, 0)
        return [
            own
            for number in range(len(model.subgraphs))
            for own in _operators(model, number, tensors[number] if number < len(tensors) else ())
        ]
    except (
        Exception
    ) as error:  # in a damaged file any offset leads anywhere: struct, flatbuffers, numpy raise their own
        raise ModelError(f"{artifact.name}: not a TFLite model: {error}", artifact=artifact.name) from error


def _operators(model: Any, number: int, known: Shapes) -> Iterator[TfliteOperator]:
    graph = model.subgraphs[number]
    for operator in graph.operators or ():
        code = model.operatorCodes[operator.opcodeIndex]
        kind = _NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        read, written = _indices(operator.inputs), _indices(operator.outputs)
        shapes = [
            [None if i < 0 else _shape(graph.tensors[i], known[i] if i < len(known) else None) for i in side]
            for side in (read, written)
        ]
        types = [[graph.tensors[i].type if i >= 0 else None for i in side] for side in (read, written)]
        moved = _moved(kind, shapes, types)
        macs = _macs(kind, shapes[0], shapes[1], operator.builtinOptions)
        yield TfliteOperator(kind, macs, moved, number, _precision(types[0]))


def _shape(tensor: Any, known: Shape | None) -> Shape | None:
    """A tensor's shape, as it is known from outside or as the file has it; None where that leaves it open."""
    if known is not None:
        return known
    shape = tuple(int(side) for side in tensor.shape) if tensor.shape is not None else ()
    signature = () if tensor.shapeSignature is None else tuple(tensor.shapeSignature)
    return None if any(side < 0 for side in (*shape, *signature)) else shape


def _indices(found: Any) -> list[int]:
    return [] if found is None else list(found)


def _moved(kind: str, shapes: Sequence[Shapes], types: Sequence[Sequence[int | None]]) -> int | None:
    total = 0
    sides = (1, 1) if kind in _PARTIAL else (0, 1)
    for side in sides:
        for shape, type_ in zip(shapes[side], types[side], strict=True):
            if type_ is None:
                continue
            if shape is None:
                return None
            total += math.prod(shape) * _SIZES.get(type_, 32) // 8
    return total


def _precision(types: Sequence[int | None]) -> str:
    if any(type_ in _EIGHT_BITS for type_ in types[:2]):
        return "int8"
    return "fp16" if types and types[0] == schema.TensorType.FLOAT16 else "fp32"


def _macs(kind: str, read: Shapes, written: Shapes, options: Any) -> int | None:
    """One for each weight that goes into each output value."""
    if kind in _UNCOUNTED:
        return None
    try:
        if kind in _CELLS:
            return _recurrent(kind, read)
        return _COUNTED[kind](read, written, options) if kind in _COUNTED else 0
    except (IndexError, AttributeError):
        return None


def _at(shapes: Shapes, index: int) -> Shape:
    shape = shapes[index]
    if shape is None:
        raise IndexError(index)
    return shape


def _recurrent(kind: str, read: Shapes) -> int:
    """Each step multiplies by all matrices."""
    steps = math.prod(_at(read, 0)[:-1])
    if kind == "LSTM" and len(read) == _BASIC_LSTM_INPUTS:
        return steps * math.prod(_at(read, 2))
    matrices = [read[i] for i in _CELLS[kind] if i < len(read)]
    each: int = sum(math.prod(shape) for shape in matrices if shape is not None)
    return steps * each


def _summed(first: int, last: int | None, weight: int = 1) -> Callable[[Shapes, Shapes, Any], int]:
    """Output values times the sides of the weight that are summed over."""
    return lambda read, written, _: math.prod(_at(written, 0)) * math.prod(_at(read, weight)[first:last])


def _spread(read: Shapes, written: Shapes, options: Any) -> int:
    """A transposed convolution's: each input value goes into a window of all output channels."""
    return math.prod(_at(read, 2)) * math.prod(_at(read, 1)) // _at(read, 1)[-1]


def _product(read: Shapes, written: Shapes, options: Any) -> int:
    transposed = bool(getattr(options, "adjX", False))
    first = _at(read, 0)
    return math.prod(_at(written, 0)) * (first[-2] if transposed else first[-1])


_COUNTED: dict[str, Callable[[Shapes, Shapes, Any], int]] = {
    "CONV_2D": _summed(1, None),  # OHWI
    "CONV_3D": _summed(0, -1),  # DHWIO
    "DEPTHWISE_CONV_2D": _summed(1, -1),  # 1HWC
    "FULLY_CONNECTED": _summed(-1, None),
    "BATCH_MATMUL": _product,
    "TRANSPOSE_CONV": _spread,  # OHWI
    "CONV_3D_TRANSPOSE": _spread,  # DHWOI
}


def has_no_product(kind: str) -> bool:
    """True where an operator of the format multiplies nothing that counts, whatever its tensors are."""
    return kind in _NAMES.values() and not (kind in _COUNTED or kind in _CELLS or kind in _UNCOUNTED)
