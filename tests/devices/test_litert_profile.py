"""LiteRT's profiler of operators takes models whose inputs and outputs leave their shapes open."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from netdyno.devices.litert_profile import LiteRtProfiler

INFERENCES = 3


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_an_open_batch_is_that_of_the_inputs(model, batch):
    artifact = model("dynamic-tflite")
    ((name, _),) = _inputs(artifact.data)
    types = _types(artifact.data, {name: np.ones((batch, 3), np.float32)})
    assert any(kind.startswith("Fully Connected") for kind in types)


@pytest.mark.parametrize("shape", [[4, 3], [12, 1], [1, 12]])
def test_an_output_of_a_size_that_is_computed_hides_no_operator(shape):
    inputs = {"x": np.ones((3, 4), np.float32), "shape": np.array(shape, np.int32)}
    assert "RESHAPE" in _types(_reshaped_by_an_input(), inputs)


def _types(data: bytes, inputs: dict[str, np.ndarray]) -> list[str]:
    """The operators' types, as some inferences tell them."""
    profiler = LiteRtProfiler(data, inputs, 1)
    profiler.warm_up(1)
    profiler.run(INFERENCES)
    return [operator.type for operator in profiler.operators()]


def _inputs(data: bytes) -> list[tuple[str, list[int]]]:
    graph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    return [(graph.tensors[i].name.decode(), list(graph.tensors[i].shape)) for i in graph.inputs]


def _reshaped_by_an_input() -> bytes:
    """``y = reshape(-x, shape)``, whose output has no size before it runs."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers, model.operatorCodes, graph.operators = [schema.BufferT()], [], []
    kinds = schema.TensorType
    graph.tensors = [
        _tensor("x", [3, 4], kinds.FLOAT32),
        _tensor("shape", [2], kinds.INT32),
        _tensor("negative", [3, 4], kinds.FLOAT32),
        _tensor("y", [1, 1], kinds.FLOAT32, [-1, -1]),
    ]
    graph.inputs, graph.outputs = [0, 1], [3]
    for position, (name, read, written) in enumerate([("NEG", [0], 2), ("RESHAPE", [2, 1], 3)]):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        operator.opcodeIndex, operator.inputs, operator.outputs = position, read, [written]
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: list[int], kind: int, signature: list[int] | None = None) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer, tensor.shapeSignature = name, shape, kind, 0, signature
    return tensor
