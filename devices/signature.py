"""Inputs and outputs of a model file, for runtimes that do not tell them."""

from __future__ import annotations

from typing import Any

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError

Tensor = tuple[str, list[int], str]
"""A tensor's name, dimensions and dtype."""
_LONGEST_SIDE = 1 << 31


def signature(artifact: Artifact) -> dict[str, list[list[Any]]]:
    """``inputs`` as name, dimensions (0 is open) and dtype, ``outputs`` as name and dtype, of an ONNX model.

    Raises:
        ModelError: it is none.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(artifact.data)
        onnx.checker.check_model(model)
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        line = (str(error).strip().splitlines() or ["it cannot be read"])[0]
        raise ModelError(f"not a valid ONNX model: {line}") from error
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [_described(value) for value in model.graph.input if value.name not in weights]
    outputs = [[name, dtype] for name, _, dtype in map(_described, model.graph.output)]
    return {"inputs": inputs, "outputs": outputs}


def _described(value: Any) -> list[Any]:
    import onnx

    tensor = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except (KeyError, TypeError):
        dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return [value.name, [side.dim_value for side in tensor.shape.dim], dtype]


def tflite_signature(artifact: Artifact) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of a TFLite model's main subgraph; dimensions that are open are -1.

    Raises:
        ModelError: it is none.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        if artifact.data[4:8] != b"TFL3":
            raise ValueError("its identifier is missing")
        graph = schema.Model.GetRootAs(artifact.data, 0).Subgraphs(0)
        inputs = [_tensor(graph.Tensors(graph.Inputs(i))) for i in range(graph.InputsLength())]
        outputs = [_tensor(graph.Tensors(graph.Outputs(i))) for i in range(graph.OutputsLength())]
    except Exception as error:  # in a damaged file any offset leads anywhere: each library raises its own
        raise ModelError(f"not a TFLite model: {error}") from error
    return inputs, outputs


def _tensor(tensor: Any) -> Tensor:
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    signature = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
    shape = signature or [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]
    if not all(-1 <= side < _LONGEST_SIDE for side in shape):
        raise ValueError("a tensor of a size that none has")
    return (tensor.Name() or b"").decode(), shape, names.get(tensor.Type(), f"type {tensor.Type()}")
