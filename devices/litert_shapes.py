"""Shapes that a TFLite model's tensors have once its inputs' shapes are known; a file may leave them open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, Feeding
from netdyno.devices.operators import Shapes
from netdyno.devices.tflite_inputs import choose, tensor_indices


def tensor_shapes(data: bytes, inputs: Mapping[str, NDArray[Any]], signature: str = "") -> tuple[Shapes, ...]:
    """Shapes by subgraph and position in the file, with these inputs of a signature; nothing if it has no open ones.

    They are those of an inference without delegates, which leave the shapes of what they take over as they were.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    if not any(_is_open(graph.Tensors(i)) for graph in graphs for i in range(graph.TensorsLength())):
        return ()
    artifact = Artifact(data, "tflite", feeding=Feeding(signature=signature))
    entry, indices = choose(artifact), tensor_indices(artifact)
    subgraph = entry.subgraph if entry else 0
    interpreter = _interpreter(data)
    core = interpreter._interpreter  # its own methods run the main subgraph only
    for name, array in inputs.items():
        core.ResizeInputTensor(indices[name], np.array(array.shape, np.int32), False, subgraph)
    core.AllocateTensors(subgraph)
    for name, array in inputs.items():
        core.SetTensor(indices[name], array, subgraph)
    core.Invoke(subgraph)
    return tuple(
        tuple(_shape(interpreter, i, number) for i in range(graph.TensorsLength()))
        for number, graph in enumerate(graphs)
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
