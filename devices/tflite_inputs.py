"""Inputs of a TFLite model's subgraph or signature, and which of them are indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError, UnknownName
from netdyno.devices.agent.models import unique_names
from netdyno.devices.indices import Limits, Lookups, Node, index_limits
from netdyno.devices.shapes import Declared, declared

_LONGEST_SIDE = 1 << 31
_SMALL = 1024
Told = TypeVar("Told")


@dataclass(frozen=True)
class Entry:
    """A signature: its place in the file, its subgraph, and the tensors of its inputs and outputs by their names."""

    index: int
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


def signatures(artifact: Artifact) -> dict[str, Entry]:
    """A model's signatures by name.

    Raises:
        ModelError: it is no TFLite model.
    """
    return read(artifact, _signatures)


def choose(artifact: Artifact) -> Entry | None:
    """The signature that the artifact's user asks for; None for the main subgraph.

    Raises:
        ModelError: it is no TFLite model.
        UnknownName: it has no such signature.
    """
    name = artifact.feeding.signature
    if not name:
        return None
    known = signatures(artifact)
    if name not in known:
        raise UnknownName("signature", name, known)
    return known[name]


def tflite_inputs(artifact: Artifact) -> list[Declared]:
    """Inputs of the main subgraph, or of the signature that is asked for; raises as :func:`choose` does."""
    return _side(artifact, "Inputs")


def tflite_outputs(artifact: Artifact) -> list[Declared]:
    """Outputs, as :func:`tflite_inputs` does for inputs."""
    return _side(artifact, "Outputs")


def _side(artifact: Artifact, side: str) -> list[Declared]:
    entry = choose(artifact)

    def declare(model: Any) -> list[Declared]:
        graph = model.Subgraphs(entry.subgraph if entry else 0)
        return [_declared(name, graph.Tensors(index)) for name, index in tensors(graph, entry, side).items()]

    return read(artifact, declare)


def tflite_limits(artifact: Artifact) -> Limits:
    """Legal numbers of the inputs that are indices; raises as :func:`choose` does."""
    entry = choose(artifact)

    def find(model: Any) -> Limits:
        graph = model.Subgraphs(entry.subgraph if entry else 0)
        names = {str(index): name for name, index in tensors(graph, entry, "Inputs").items()}
        found = index_limits(_lookups(model, graph), list(names))
        return {names[index]: limits for index, limits in found.items()}

    return read(artifact, find)


def tensor_indices(artifact: Artifact) -> dict[str, int]:
    """Inputs by name, and which tensor of their subgraph each is; raises as :func:`choose` does."""
    entry = choose(artifact)
    if entry is not None:
        return dict(entry.inputs)
    return read(artifact, lambda model: tensors(model.Subgraphs(0), None, "Inputs"))


def read(artifact: Artifact, ask: Callable[[Any], Told]) -> Told:
    """Ask a model something.

    Raises:
        ModelError: it is no TFLite model.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        data = artifact.data
        if data[4:8] != b"TFL3":
            raise ValueError("its identifier is missing")
        return ask(schema.Model.GetRootAs(data, 0))
    except Exception as error:  # in a damaged file any offset leads anywhere: each library raises its own
        raise ModelError(f"not a TFLite model: {error}") from error


def _signatures(model: Any) -> dict[str, Entry]:
    found = {}
    for index in range(model.SignatureDefsLength()):
        own = model.SignatureDefs(index)
        sides = []
        for side in ("Inputs", "Outputs"):
            maps = [getattr(own, side)(i) for i in range(getattr(own, f"{side}Length")())]
            sides.append({(each.Name() or b"").decode(): int(each.TensorIndex()) for each in maps})
        found[(own.SignatureKey() or b"").decode()] = Entry(index, int(own.SubgraphIndex()), *sides)
    return found


def tensors(graph: Any, entry: Entry | None, side: str) -> dict[str, int]:
    """Tensors of a subgraph's inputs or outputs by names that occur once; of a signature by its own names."""
    if entry is not None:
        return dict(entry.inputs if side == "Inputs" else entry.outputs)
    indices = [int(getattr(graph, side)(i)) for i in range(getattr(graph, f"{side}Length")())]
    names = [(graph.Tensors(index).Name() or b"").decode() for index in indices]
    return dict(zip(unique_names(names), indices, strict=True))


def _declared(name: str, tensor: Any) -> Declared:
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    open_ones = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
    shape = open_ones or _shape(tensor)
    if not all(-1 <= side < _LONGEST_SIDE for side in shape):
        raise ValueError("a tensor of a size that none has")
    return declared(name, shape, names.get(tensor.Type(), f"type {tensor.Type()}"))


def _shape(tensor: Any) -> list[int]:
    return [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]


def _lookups(model: Any, graph: Any) -> Lookups:
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    constants = {str(i): ends for i, tensor in enumerate(tensors) if (ends := _ends(model, tensor)) is not None}
    nodes = [_node(model, graph.Operators(index)) for index in range(graph.OperatorsLength())]
    return Lookups(nodes, {str(i): _shape(tensor) for i, tensor in enumerate(tensors)}, constants)


def _node(model: Any, operator: Any) -> Node:
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    code = model.OperatorCodes(operator.OpcodeIndex())
    kind = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM")
    axis = batch = 0
    if kind == "GATHER" and operator.BuiltinOptions() is not None:
        options = schema.GatherOptions()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        axis, batch = int(options.Axis()), int(options.BatchDims())
    inputs = tuple(str(operator.Inputs(i)) for i in range(operator.InputsLength()))
    return Node(kind, inputs, tuple(str(operator.Outputs(i)) for i in range(operator.OutputsLength())), axis, batch)


def _ends(model: Any, tensor: Any) -> tuple[int, int] | None:
    """Least and greatest of a short constant's integers."""
    from ai_edge_litert import schema_py_generated as schema

    size = {schema.TensorType.INT32: 4, schema.TensorType.INT64: 8}.get(tensor.Type(), 0)
    length = model.Buffers(tensor.Buffer()).DataLength() if size else 0
    if not 0 < length <= _SMALL or length % size:
        return None
    values = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), f"<i{size}")
    return int(values.min()), int(values.max())


def index_of_subgraph(known: Sequence[Entry], subgraph: int) -> int | None:
    """The place of the first signature of a subgraph; None if it has none."""
    return next((entry.index for entry in known if entry.subgraph == subgraph), None)
