"""Inputs and outputs of a model file, for runtimes that do not tell them."""

from __future__ import annotations

from typing import Any

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError


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
