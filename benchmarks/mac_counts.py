"""Multiply-accumulates of a model, counted without netdyno, for benchmarks to set its count against.

An ONNX model is executed by the format's reference implementation, so branches not taken do not count, and a loop's
body counts each time; operators of a TFLite model are read from its flatbuffer, their sizes from an interpreter
without delegates. Only products of convolutions, matrices and recurrent cells count, without biases; padding counts
as input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

Array = NDArray[Any]
Arrays = Sequence[Array]
Shape = tuple[int, ...]


def count_macs(data: bytes, inputs: dict[str, Array]) -> int:
    """Multiply-accumulates of one inference with these inputs."""
    return _count_tflite(data, inputs) if data[4:8] == b"TFL3" else _count_onnx(data, inputs)


def _convolution(node: OpRun, read: Arrays, written: Arrays) -> int:
    weight = read[3 if node.op_type == "QLinearConv" else 1]
    return written[0].size * math.prod(weight.shape[1:])


def _transposed(node: OpRun, read: Arrays, written: Arrays) -> int:
    return read[0].size * math.prod(read[1].shape[1:])


def _product(node: OpRun, read: Arrays, written: Arrays) -> int:
    return written[0].size * read[0].shape[-1]


def _gemm(node: OpRun, read: Arrays, written: Arrays) -> int:
    return written[0].size * read[0].shape[0 if node.transA else 1]  # type: ignore[attr-defined]


def _recurrent(node: OpRun, read: Arrays, written: Arrays) -> int:
    """Every weight once for each step of each sequence; X is (steps, batch, features), or batch first."""
    steps = math.prod(read[0].shape[:2])
    if len(read) > 4 and read[4] is not None:
        steps = int(read[4].sum())
    return steps * (read[1].size + read[2].size)


_ONNX: dict[str, Callable[[Any, Arrays, Arrays], int]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": _convolution,
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
}
_UNKNOWN = {"Attention", "DeformConv", "Einsum", "LinearAttention", "CausalConvWithState"}


class _Recurrent(OpRun):
    """An LSTM of any number of directions whose outputs are zeros: the reference implementation has one direction."""

    def _run(self, x: Array, w: Array, r: Array, *_: Any, **__: Any) -> tuple[Array, ...]:
        (steps, batch, _features), directions = x.shape, len(r)
        hidden = self.hidden_size  # type: ignore[attr-defined]
        last = np.zeros((directions, batch, hidden), np.float32)
        return np.zeros((steps, directions, batch, hidden), np.float32), last, last


class LSTM(_Recurrent):
    op_domain = ""


class DynamicQuantizeLSTM(_Recurrent):
    op_domain = "com.microsoft"


class GlobalMaxPool(OpRun):
    """The reference implementation's own takes the wrong axes unless there are two."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


def _count_onnx(data: bytes, inputs: dict[str, Array]) -> int:
    total = 0

    class Counting(ReferenceEvaluator):
        """The reference implementation, which counts what each node has done; branches and bodies are made of it."""

        def _init(self) -> None:
            super()._init()
            for node in self.rt_nodes_:
                node.run = _counted(node, node.run)

    def _counted(node: OpRun, execute: Callable[..., Any]) -> Callable[..., Any]:
        def run(*read: Any, **how: Any) -> Any:
            nonlocal total
            written = execute(*read, **how)
            if node.op_type in _UNKNOWN:
                raise NotImplementedError(node.op_type)
            if (rule := _ONNX.get(node.op_type)) is not None:
                total += rule(node, read, written)
            return written

        return run

    Counting(onnx.load_model_from_string(data), new_ops=[LSTM, DynamicQuantizeLSTM, GlobalMaxPool]).run(None, inputs)
    return total


_OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_OHWI = {"CONV_2D": slice(1, None), "DEPTHWISE_CONV_2D": slice(1, -1), "FULLY_CONNECTED": slice(-1, None)}
"""Which sides of a weight go into one output value."""


def _count_tflite(data: bytes, inputs: dict[str, Array]) -> int:
    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    for detail in interpreter.get_input_details():
        interpreter.resize_tensor_input(detail["index"], inputs[detail["name"]].shape)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], inputs[detail["name"]])
    interpreter.invoke()
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    shapes = {detail["index"]: _shape(detail["shape"]) for detail in interpreter.get_tensor_details()}
    return _count_subgraph(model, model.subgraphs[0], shapes, interpreter)


def _count_subgraph(model: Any, graph: Any, shapes: dict[int, Shape], interpreter: Interpreter) -> int:
    total = 0
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        read = [shapes.get(int(index), ()) for index in operator.inputs]
        if kind == "IF":
            options = operator.builtinOptions
            taken = bool(interpreter.get_tensor(int(operator.inputs[0])))
            branch = model.subgraphs[options.thenSubgraphIndex if taken else options.elseSubgraphIndex]
            static = {number: _shape(tensor.shape) for number, tensor in enumerate(branch.tensors)}
            total += _count_subgraph(model, branch, static, interpreter)
        elif kind in {"WHILE", "CUSTOM", "CONV_3D", "UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF"}:
            raise NotImplementedError(kind)
        elif kind in _OHWI:
            total += math.prod(shapes[int(operator.outputs[0])]) * math.prod(read[1][_OHWI[kind]])
        elif kind == "BATCH_MATMUL":
            total += math.prod(shapes[int(operator.outputs[0])]) * read[0][-2 if operator.builtinOptions.adjX else -1]
        elif kind == "TRANSPOSE_CONV":
            total += math.prod(read[2]) * math.prod(read[1][:-1])
    return total


def _shape(sides: Any) -> Shape:
    return () if sides is None else tuple(map(int, sides))
