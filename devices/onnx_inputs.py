"""Inputs of an ONNX model as the file declares them, and which of them are indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.devices.indices import Limits, Lookups, Node, index_limits, unsized
from netdyno.devices.onnx_outline import outline
from netdyno.devices.shapes import Declared, declared

_OWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def onnx_inputs(artifact: Artifact) -> list[Declared]:
    """The inputs that a caller gives, in order.

    Raises:
        ModelError: it is no ONNX model.
    """
    graph = outline(artifact).graph
    weights = {weight.name for weight in graph.initializer}
    return [_declared(value) for value in graph.input if value.name not in weights]


def _declared(value: Any) -> Declared:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return declared(value.name, None, (kind or "nothing").removesuffix("_type"))
    tensor = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type else "nothing"
    dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    return declared(value.name, _sides(tensor) if tensor.HasField("shape") else None, dtype)


def _sides(tensor: Any) -> list[int | str]:
    return [side.dim_value if side.HasField("dim_value") else side.dim_param for side in tensor.shape.dim]


def onnx_limits(artifact: Artifact, specs: Sequence[TensorSpec]) -> Limits:
    """Legal numbers of the inputs that are indices, for inputs of these shapes.

    Raises:
        ModelError: it is no ONNX model.
    """
    model = outline(artifact)
    found = _lookups(model, specs)
    if unsized(found):
        found = _lookups(_inferred(model, specs), specs)
    return index_limits(found, [spec.name for spec in specs])


def _inferred(model: Any, specs: Sequence[TensorSpec]) -> Any:
    """The model with the shapes that follow from its inputs', as far as they do."""
    import onnx

    shapes = {spec.name: spec.shape for spec in specs}
    for value in model.graph.input:
        if value.name in shapes:
            del value.type.tensor_type.shape.dim[:]
            for side in shapes[value.name]:
                value.type.tensor_type.shape.dim.add().dim_value = side
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):  # values that it asks for are left out
        return model


def _lookups(model: Any, specs: Sequence[TensorSpec]) -> Lookups:
    graph = model.graph
    values = (*graph.value_info, *graph.output)
    shapes: dict[str, Sequence[int | str | None]] = {
        value.name: _sides(value.type.tensor_type) for value in values if value.type.HasField("tensor_type")
    }
    shapes |= {weight.name: list(weight.dims) for weight in graph.initializer}
    shapes |= {spec.name: spec.shape for spec in specs}
    constants = {weight.name: ends for weight in graph.initializer if (ends := _ends(weight)) is not None}
    nodes = []
    for node in _all_nodes(graph):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            tensor = attributes["value"].t
            shapes[node.output[0]] = list(tensor.dims)
            if (ends := _ends(tensor)) is not None:
                constants[node.output[0]] = ends
        nodes.append(_node(node, attributes))
    return Lookups(nodes, shapes, constants)


def _node(node: Any, attributes: dict[str, Any]) -> Node:
    axis = attributes.get("gather_axis" if node.op_type == "GatherBlockQuantized" else "axis")
    batch = attributes.get("batch_dims")
    kind = f"{node.domain}.{node.op_type}" if node.op_type == "RotaryEmbedding" and node.domain else node.op_type
    places = (int(each.i) if each is not None else 0 for each in (axis, batch))
    return Node(kind, tuple(node.input), tuple(node.output), *places)


def _all_nodes(graph: Any, depth: int = 0) -> Iterator[Any]:
    """The nodes of a graph and of those in it, which see its tensors by their names."""
    for node in graph.node:
        yield node
        for attribute in node.attribute if depth < 20 else ():
            for inner in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                yield from _all_nodes(inner, depth + 1)


def _ends(tensor: Any) -> tuple[int, int] | None:
    """Least and greatest of a constant's integers; None where they are left out, or are no integers."""
    import onnx

    kept = tensor.raw_data or tensor.int32_data or tensor.int64_data
    if not kept or tensor.data_type not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return None
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError):
        return None
    return (int(values.min()), int(values.max())) if values.size else None
