"""A TFLite file under construction: tensors, constants and operators, then bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"
ALIGNMENT = 16
_TENSOR_TYPES = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}


class FlatModel:
    """Collects a model of one subgraph; tensors are referred to by the index that each method returns."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # buffer 0 is empty: every activation's
        self._codes: dict[tuple[int, int], int] = {}
        self._constants: dict[str, int] = {}
        self._bytes = 0

    def activation(self, name: str, shape: Sequence[int]) -> int:
        """A float32 tensor that the runtime fills."""
        return self._tensor(name, shape, schema.TensorType.FLOAT32, buffer=0)

    def constant(self, name: str, value: NDArray[Any]) -> int:
        """A float32 or int32 tensor that the file holds; a name seen before means the tensor made then."""
        if name not in self._constants:
            self._buffers.append(_AlignedBuffer(value))
            self._bytes += value.nbytes
            kind = _TENSOR_TYPES[value.dtype.name]
            self._constants[name] = self._tensor(name, value.shape, kind, buffer=len(self._buffers) - 1)
        return self._constants[name]

    def operator(self, code: int, inputs: Sequence[int], output: int, options: Any = None, version: int = 1) -> None:
        """An operator of ``schema.BuiltinOperator``; ``options`` is its ``…OptionsT``, if it has one."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((code, version), len(self._codes))
        operator.inputs = list(inputs)
        operator.outputs = [output]
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self._operators.append(operator)

    def finish(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        subgraph = schema.SubGraphT()
        subgraph.name = name
        subgraph.tensors = self._tensors
        subgraph.operators = self._operators
        subgraph.inputs = list(inputs)
        subgraph.outputs = list(outputs)
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = "netdyno"
        model.operatorCodes = [_operator_code(code, version) for code, version in self._codes]
        model.subgraphs = [subgraph]
        model.buffers = self._buffers
        # Room for everything at once: a builder that is too small grows by copying all that it holds.
        builder = flatbuffers.Builder(self._bytes + 256 * (len(self._tensors) + len(self._operators)) + 1024)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(memoryview(builder.Bytes)[builder.Head() :])  # builder.Output() would copy it once more

    def _tensor(self, name: str, shape: Sequence[int], kind: int, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = list(shape)
        tensor.hasRank = True
        tensor.type = kind
        tensor.buffer = buffer
        self._tensors.append(tensor)
        return len(self._tensors) - 1


class _AlignedBuffer:
    """What ``schema.BufferT`` packs, on a 16-byte boundary.

    The schema asks for it (``force_align: 16``) and runtimes read weights in place, but the generated Python
    does not do it.
    """

    def __init__(self, value: NDArray[Any]) -> None:
        self._value = value

    def Pack(self, builder: Any) -> int:  # noqa: N802  the name that schema.ModelT calls
        size = self._value.nbytes
        builder.StartVector(1, size, ALIGNMENT)
        builder.head -= size
        place = np.frombuffer(builder.Bytes, self._value.dtype, self._value.size, builder.head)
        place.reshape(self._value.shape)[...] = self._value
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def _operator_code(code: int, version: int) -> Any:
    record = schema.OperatorCodeT()
    record.builtinCode = code
    record.deprecatedBuiltinCode = min(code, 127)  # what runtimes from before builtinCode read: one signed byte
    record.version = version
    return record
