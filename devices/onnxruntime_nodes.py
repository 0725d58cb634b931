"""The graph that ONNX Runtime executes, as it writes it itself, set beside its profile.

The profile tells neither attributes nor the weights that a kernel has packed for itself. Nodes are written in the
order in which they run, so they are met in order, since many have no name of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netdyno.devices.onnxruntime_profile import PARTIAL, Node
from netdyno.devices.operators import Execution, OperatorTimes, Shape, Shapes

_PADDED = "_nchwc"
"""Ending of the name of a node that computes in blocks of channels, after that of its output."""
_PADDED_DOMAIN = "com.microsoft.nchwc"
_BLOCK = 64
"""More channels than any block adds."""

Weights = Mapping[str, tuple[Shape, int]]
"""Shapes and bytes of constant tensors by name."""


def describe(
    nodes: Sequence[Node], inferences: int, executed: Any, original: Callable[[], Any]
) -> list[OperatorTimes]:
    """Nodes of a profile as operators with attributes and all shapes, as far as the graphs tell them.

    ``executed`` is an ONNX graph, or None; ``original`` returns the model's own, for channels that were padded.
    """
    operators = [node.operator(inferences) for node in nodes]
    if executed is None:
        return operators
    matched = dict(_match(nodes, (), [executed], {}))
    weights = _padded_weights(operators, original)
    return [
        _described(own, *matched[i], weights.get(own.name)) if i in matched else own
        for i, own in enumerate(operators)
    ]


def read_graph(source: Any) -> Any:
    """The graph of a model's bytes or file, without the weights beside it."""
    import onnx

    if isinstance(source, bytes):
        return onnx.load_model_from_string(source).graph
    return onnx.load_model(str(source), load_external_data=False).graph


def size_of(source: Any) -> int:
    """Bytes of a model's bytes, or of the weights of its file and beside it."""
    if isinstance(source, bytes):
        return len(source)
    return sum(size for _, size in _weights(read_graph(source)).values())


def _match(
    nodes: Sequence[Node], path: tuple[str, ...], graphs: Sequence[Any], outer: Weights
) -> Iterator[tuple[int, tuple[Any, Weights]]]:
    """Positions of nodes of one level with what the graphs have there; a level is one body, or both of an If."""
    here = [i for i, node in enumerate(nodes) if node.path == path]
    for graph in [graphs, *([graph] for graph in graphs)] if len(graphs) > 1 else [graphs]:
        weights = {**outer, **{name: known for each in graph for name, known in _weights(each).items()}}
        written = [node for each in graph for node in each.node if node.op_type != "Constant"]
        if [nodes[i].type for i in here] == [node.op_type for node in written]:
            pairs = list(zip(here, written, strict=True))
            break
    else:
        weights = {**outer, **{name: known for each in graphs for name, known in _weights(each).items()}}
        pairs = _by_name(nodes, here, [node for each in graphs for node in each.node])
    for i, node in pairs:
        yield i, (node, weights)
        bodies = [own.g for own in node.attribute if own.HasField("g")]
        if bodies:
            yield from _match(nodes, (*path, nodes[i].name), bodies, weights)


def _by_name(nodes: Sequence[Node], here: Sequence[int], written: Sequence[Any]) -> list[tuple[int, Any]]:
    named: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for node in written:
        named[node.op_type, node.name].append(node)
    found = ((i, named.get((nodes[i].type, nodes[i].name), [])) for i in here)
    return [(i, same[0]) for i, same in found if len(same) == 1]


def _weights(graph: Any) -> dict[str, tuple[Shape, int]]:
    found = {tensor.name: _size(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            found[node.output[0]] = _size(node.attribute[0].t)
    return found


def _size(tensor: Any) -> tuple[Shape, int]:
    import onnx

    shape = tuple(int(side) for side in tensor.dims)
    try:
        size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError):
        size = 1
    return shape, size * int(np.prod(shape, dtype=np.int64))


def _described(own: OperatorTimes, node: Any, weights: Weights, original: Shape | None) -> OperatorTimes:
    import onnx

    attributes = {
        each.name: onnx.helper.get_attribute_value(each)
        for each in node.attribute
        if each.type in (each.INT, each.INTS, each.STRING)
    }
    plain = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in attributes.items()
    }
    executions = tuple(_complete(each, list(node.input), weights) for each in own.executions)
    if own.type in PARTIAL:
        executions = tuple(
            replace(new, moved_bytes=old.moved_bytes) for new, old in zip(executions, own.executions, strict=True)
        )
    if node.domain == _PADDED_DOMAIN and node.op_type == "Conv" and original is None:
        original = ()
    return replace(own, executions=executions, attributes=plain, original=original)


def _complete(own: Execution, names: Sequence[str], weights: Weights) -> Execution:
    """An execution with all its inputs by position; of weights that a kernel has packed, the profile is silent."""
    told = list(own.input_shapes)
    computed = sum(1 for name in names if name and name not in weights)
    found: list[Shape | None] = []
    packed = 0
    for name in names:
        if not name:
            found.append(None)
        elif name in weights:
            shape, size = weights[name]
            found.append(shape)
            if told and told[0] == shape and len(told) > computed:
                del told[0]
            else:
                packed += size
        else:
            if not told:
                return own
            found.append(told.pop(0))
            computed -= 1
    if told:
        return own
    moved = None if own.moved_bytes is None else own.moved_bytes + packed
    return replace(own, input_shapes=tuple(found), moved_bytes=moved)


def _padded_weights(operators: Sequence[OperatorTimes], original: Callable[[], Any]) -> dict[str, Shape]:
    """The model's own weights of convolutions whose channels the runtime has padded, by the operator's name."""
    padded = {own.name.removesuffix(_PADDED): own for own in operators if own.name.endswith(_PADDED)}
    graph = original() if padded else None
    if graph is None:
        return {}
    producers: dict[str, Any] = {}
    weights: dict[str, Shape] = {}
    for each in _all_graphs(graph):
        producers |= {name: node for node in each.node for name in node.output}
        weights |= {name: shape for name, (shape, _) in _weights(each).items()}
    found = {}
    for name, own in padded.items():
        read: Shapes = own.executions[0].input_shapes
        if len(read) > 1 and read[1] is not None:
            shape = _original(name, read[1], producers, weights, set(padded) - {name})
            if shape is not None:
                found[own.name] = shape
    return found


def _all_graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those of its nodes' bodies."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all_graphs(attribute.g)


def _original(
    name: str, executed: Shape, producers: Mapping[str, Any], weights: Mapping[str, Shape], others: set[str]
) -> Shape | None:
    """The weight of the convolution that a value was fused from: the nearest that padding can have made this of."""
    seen, level = {name}, [name]
    while level:
        following = []
        for node in (producers[each] for each in level if each in producers):
            if node.op_type == "Conv":
                shape = _constant(node.input[1], producers, weights)
                if shape is not None and _may_become(shape, executed):
                    return shape
            else:
                following += [each for each in node.input if each not in seen | others]
                seen |= set(following)
        level = following
    return None


def _constant(name: str, producers: Mapping[str, Any], weights: Mapping[str, Shape]) -> Shape | None:
    """The shape of a weight, or of what it is dequantised or copied from."""
    while name not in weights and name in producers:
        node = producers[name]
        if node.op_type not in ("DequantizeLinear", "QuantizeLinear", "Identity", "Cast"):
            return None
        name = node.input[0]
    return weights.get(name)


def _may_become(shape: Shape, executed: Shape) -> bool:
    grown = [after - before for before, after in zip(shape, executed, strict=False)]
    return len(shape) == len(executed) and shape[2:] == executed[2:] and all(0 <= each < _BLOCK for each in grown)
