"""TFLite models as converters write them: with signatures, several subgraphs, and open shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Op = schema.BuiltinOperator
Type = schema.TensorType


class Flat:
    """A TFLite model that grows subgraph by subgraph."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version, self._model.buffers = 3, [schema.BufferT()]
        self._model.operatorCodes, self._model.subgraphs, self._model.signatureDefs = [], [], []

    def begin(self) -> None:
        """Begin a subgraph."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = [], []
        self._model.subgraphs.append(graph)

    @property
    def _graph(self) -> Any:
        return self._model.subgraphs[-1]

    def tensor(self, shape: Sequence[int], kind: int = Type.FLOAT32, value: Any = None) -> int:
        """A tensor; a side of -1 is open, and 1 until it is known."""
        tensor = schema.TensorT()
        tensor.name = f"t{len(self._model.subgraphs)}_{len(self._graph.tensors)}".encode()
        tensor.shape, tensor.type, tensor.buffer = [abs(side) for side in shape], kind, 0
        if min(shape, default=0) < 0:
            tensor.shapeSignature = list(shape)
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(value).tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def operator(self, code: int, inputs: Sequence[int], output: Sequence[int], options: Any = None) -> None:
        """An operator of the subgraph that was begun last."""
        entry, operator = schema.OperatorCodeT(), schema.OperatorT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        self._model.operatorCodes.append(entry)
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), list(output)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._graph.operators.append(operator)

    def end(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Inputs and outputs of the subgraph."""
        self._graph.inputs, self._graph.outputs = list(inputs), list(outputs)

    def sign(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """A signature of the first subgraph, as every converter of today writes one."""
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = [], []
        for side, indices in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for index in indices:
                entry = schema.TensorMapT()
                entry.name, entry.tensorIndex = f"n{index}".encode(), index
                side.append(entry)
        self._model.signatureDefs.append(signature)

    def data(self) -> bytes:
        """The file."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def chain(operators: int, *, signed: bool) -> bytes:
    """ABS and EXP in turns."""
    flat = Flat()
    flat.begin()
    tensors = [flat.tensor((1, 16, 16, 4)) for _ in range(operators + 1)]
    for i in range(operators):
        flat.operator((Op.ABS, Op.EXP)[i % 2], [tensors[i]], [tensors[i + 1]])
    flat.end([0], [operators])
    if signed:
        flat.sign([0], [operators])
    return flat.data()


def loop(turns: int, side: int, *, signed: bool) -> bytes:
    """A WHILE of fully connected layers between ABS and EXP."""
    flat = Flat()
    flat.begin()
    count, x, positive = (
        flat.tensor((), Type.INT32, np.int32(0)),
        flat.tensor((side, side)),
        flat.tensor((side, side)),
    )
    flat.operator(Op.ABS, [x], [positive])
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    last, y, z = flat.tensor((), Type.INT32), flat.tensor((side, side)), flat.tensor((side, side))
    flat.operator(Op.WHILE, [count, positive], [last, y], options)
    flat.operator(Op.EXP, [y], [z])
    flat.end([x], [z])
    flat.begin()
    i, x_in, most = (
        flat.tensor((), Type.INT32),
        flat.tensor((side, side)),
        flat.tensor((), Type.INT32, np.int32(turns)),
    )
    less = flat.tensor((), Type.BOOL)
    flat.operator(Op.LESS, [i, most], [less], schema.LessOptionsT())
    flat.end([i, x_in], [less])
    flat.begin()
    i, x_in, one = flat.tensor((), Type.INT32), flat.tensor((side, side)), flat.tensor((), Type.INT32, np.int32(1))
    following, weight = flat.tensor((), Type.INT32), flat.tensor((side, side), value=np.eye(side, dtype=np.float32))
    y_out = flat.tensor((side, side))
    flat.operator(Op.ADD, [i, one], [following], schema.AddOptionsT())
    flat.operator(Op.FULLY_CONNECTED, [x_in, weight, -1], [y_out], schema.FullyConnectedOptionsT())
    flat.end([i, x_in], [following, y_out])
    if signed:
        flat.sign([x], [z])
    return flat.data()


def open_inside(rows: int) -> bytes:
    """A fully connected layer of which the file leaves the rows open, though its input's are known."""
    flat = Flat()
    flat.begin()
    x, shape = flat.tensor((rows * 8,)), flat.tensor((2,), Type.INT32, np.array([-1, 8], np.int32))
    wide, y = flat.tensor((-1, 8)), flat.tensor((-1, 4))
    weight = flat.tensor((4, 8), value=np.ones((4, 8), np.float32))
    flat.operator(Op.RESHAPE, [x, shape], [wide], schema.ReshapeOptionsT())
    flat.operator(Op.FULLY_CONNECTED, [wide, weight, -1], [y], schema.FullyConnectedOptionsT())
    back, z = flat.tensor((1,), Type.INT32, np.array([rows * 4], np.int32)), flat.tensor((rows * 4,))
    flat.operator(Op.RESHAPE, [y, back], [z], schema.ReshapeOptionsT())
    flat.end([x], [z])
    flat.sign([x], [z])
    return flat.data()


def product(adjoint: bool) -> bytes:
    """A product of matrices of which the first may be transposed."""
    flat = Flat()
    flat.begin()
    a, b = flat.tensor((2, 64, 32) if adjoint else (2, 32, 64)), flat.tensor((2, 64, 16))
    y = flat.tensor((2, 32, 16))
    options = schema.BatchMatMulOptionsT()
    options.adjX = adjoint
    flat.operator(Op.BATCH_MATMUL, [a, b], [y], options)
    flat.end([a, b], [y])
    return flat.data()
