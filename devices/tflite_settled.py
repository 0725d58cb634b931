"""TFLite models as LiteRT's profiler takes them, whose interface resizes nothing and goes by names alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdyno.base.artifact import Artifact
from netdyno.devices.tflite_inputs import choose, read, tensors


def settled(artifact: Artifact, shapes: Mapping[int, Sequence[int]]) -> bytes:
    """The model with these shapes of inputs and outputs, by the tensors' numbers, and with names of their own.

    LiteRT makes a signature of a model that has none, and ends its process if a name occurs twice. A model that is
    so already is returned as it is.

    Raises:
        ModelError: it is no TFLite model.
        UnknownName: it has no such signature as is asked for.
    """
    entry = choose(artifact)
    subgraph = entry.subgraph if entry else 0

    def settle(model: Any) -> bytes:
        renamed, resized = _names(model), _resized(model.Subgraphs(subgraph), shapes)
        return _rewritten(model, subgraph, renamed, resized) if renamed or resized else artifact.data

    return read(artifact, settle)


def _names(model: Any) -> dict[int, str]:
    """Names of the main subgraph's tensors that need one, by their numbers."""
    sides = [tensors(model.Subgraphs(0), None, side) for side in ("Outputs", "Inputs")]
    named = {index: name for side in sides for name, index in side.items()}
    return {} if model.SignatureDefsLength() or not any("#" in name for name in named.values()) else named


def _resized(graph: Any, shapes: Mapping[int, Sequence[int]]) -> dict[int, Sequence[int]]:
    known = {index: graph.Tensors(index) for index in shapes}
    told = {index: [int(own.Shape(i)) for i in range(own.ShapeLength())] for index, own in known.items()}
    return {index: shape for index, shape in shapes.items() if list(shape) != told[index]}


def _rewritten(model: Any, subgraph: int, names: Mapping[int, str], shapes: Mapping[int, Sequence[int]]) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(model)
    for index, name in names.items():
        tree.subgraphs[0].tensors[index].name = name.encode()
    for index, shape in shapes.items():
        tensor = tree.subgraphs[subgraph].tensors[index]
        tensor.shape, tensor.shapeSignature = list(shape), None
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())
