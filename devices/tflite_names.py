"""TFLite models as LiteRT's profiler takes them, whose interface goes by tensors' names alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netdyno.base.artifact import Artifact
from netdyno.devices.tflite_inputs import read, tensors


def named(artifact: Artifact) -> bytes:
    """The model with a name of its own for each input and output.

    LiteRT makes a signature of a model that has none, and ends its process if a name occurs twice. A model that has
    such names already is returned as it is.

    Raises:
        ModelError: it is no TFLite model.
    """

    def name(model: Any) -> bytes:
        names = _missing(model)
        return _renamed(model, names) if names else artifact.data

    return read(artifact, name)


def _missing(model: Any) -> dict[int, str]:
    """Names of the main subgraph's tensors that need one, by their numbers."""
    sides = [tensors(model.Subgraphs(0), None, side) for side in ("Outputs", "Inputs")]
    names = {index: name for side in sides for name, index in side.items()}
    return {} if model.SignatureDefsLength() or not any("#" in name for name in names.values()) else names


def _renamed(model: Any, names: Mapping[int, str]) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(model)
    for index, name in names.items():
        tree.subgraphs[0].tensors[index].name = name.encode()
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())
