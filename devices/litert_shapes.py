"""Shapes that a TFLite model's tensors have once its inputs' shapes are known; a file may leave them open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from netdyno.devices.operators import Shapes


def tensor_shapes(data: bytes, inputs: Sequence[NDArray[Any]]) -> tuple[Shapes, ...]:
    """Shapes by subgraph and position in the file; nothing where it has no open ones, or others are fed.

    They are those of an inference without delegates, which leave the shapes of what they take over as they were.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    if not any(_is_open(graph.Tensors(i)) for graph in graphs for i in range(graph.TensorsLength())):
        return ()
    interpreter = _interpreter(data)
    if len(interpreter.get_input_details()) != len(inputs):  # a signature of another subgraph
        return ()
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        if tuple(detail["shape"]) != array.shape:
            interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return tuple(
        tuple(_shape(interpreter, i, subgraph) for i in range(graph.TensorsLength()))
        for subgraph, graph in enumerate(graphs)
    )


def _is_open(tensor: Any) -> bool:
    signature = [tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength())]
    shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
    return any(side < 0 for side in signature + shape)


def _interpreter(data: bytes) -> Any:
    from ai_edge_litert import interpreter

    plain = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return interpreter.Interpreter(model_content=data, experimental_op_resolver_type=plain)


def _shape(interpreter: Any, index: int, subgraph: int) -> tuple[int, ...] | None:
    try:
        detail = interpreter._get_tensor_details(index, subgraph)
    except ValueError:  # a tensor that nothing uses
        return None
    return tuple(int(side) for side in detail["shape"])
