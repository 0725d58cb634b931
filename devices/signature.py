"""Inputs and outputs of a model file, for runtimes that do not tell them."""

from __future__ import annotations

from typing import Any

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError
from netdyno.devices.tflite_inputs import tflite_inputs, tflite_outputs

Tensor = tuple[str, list[int], str]
"""A tensor's name, dimensions and dtype."""


def signature(artifact: Artifact) -> dict[str, list[list[Any]]]:
    """``inputs`` as name, dimensions (open if no numbers) and dtype, ``outputs`` as name and dtype, of an ONNX model.

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
    sides = [side.dim_value if side.HasField("dim_value") else side.dim_param for side in tensor.shape.dim]
    return [value.name, sides, dtype]


def tflite_signature(artifact: Artifact) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of a TFLite model's main subgraph; dimensions that are open are -1.

    Raises:
        ModelError: it is none.
    """
    inputs, outputs = (
        [(each.name, [_number(side) for side in each.sides or ()], each.dtype) for each in told]
        for told in (tflite_inputs(artifact), tflite_outputs(artifact))
    )
    return inputs, outputs


def _number(side: int | str | None) -> int:
    return side if isinstance(side, int) else -1
