"""Inputs of a model that are indices, and which numbers are legal for them: those of the tables that they look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Shape = Sequence[int | str | None]


@dataclass(frozen=True)
class Node:
    """An operator: its type, its tensors by name, and the attributes that say where it looks something up."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axis: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Lookups:
    """As much of a graph as it takes to follow indices: operators, shapes, and least and greatest of constants."""

    nodes: Sequence[Node]
    shapes: Mapping[str, Shape]
    constants: Mapping[str, tuple[int, int]] = field(default_factory=dict)


Limits = dict[str, tuple[int, int, str]]

_ALONG_AXIS = {
    "Gather", "GatherElements", "ScatterElements", "Scatter", "GatherBlockQuantized",
    "ArrayFeatureExtractor", "GATHER",
}  # fmt: skip
"""Input 1 is indices along an axis of input 0."""
_ROWS = {
    "EMBEDDING_LOOKUP": ((0, 1),),
    "EmbedLayerNormalization": ((0, 2), (1, 4), (8, 3)),
    "com.microsoft.RotaryEmbedding": ((1, 2),),
    "RotaryEmbedding": ((3, 1),),
}
"""Which input has indices of the rows of which other."""
_CLASSES = {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}
_ALONG_SEVERAL = {"GatherND", "ScatterND", "GATHER_ND"}
_ONE_HOT = {"OneHot", "ONE_HOT"}
_PASSING = {
    "Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Transpose", "Flatten", "Expand", "Slice", "Gather",
    "Tile",
    "Split", "GatherElements", "DepthToSpace", "SpaceToDepth", "CAST", "RESHAPE", "EXPAND_DIMS", "SQUEEZE",
    "TRANSPOSE", "SLICE", "STRIDED_SLICE", "TILE", "BROADCAST_TO", "SPLIT_V", "GATHER",
}  # fmt: skip
"""Values of input 0 come out as they are."""
_JOINING = {"Concat", "CONCATENATION", "PACK"}
_SUMS = {"Add": 1, "ADD": 1, "Sub": -1, "SUB": -1}
_MOST_STEPS = 100_000


def unsized(graph: Lookups) -> bool:
    """True where an operator looks something up whose size the graph does not tell."""
    return any(size is None for node in graph.nodes for _, size in _looked_up(graph, node))


def index_limits(graph: Lookups, inputs: Sequence[str]) -> Limits:
    """Least and greatest legal number of those inputs that are indices, and what looks them up, in words."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found: Limits = {}
    tasks = [
        (name, 0, size - 1, f"indices of {node.kind.rpartition('.')[2]}")
        for node in graph.nodes
        for name, size in _looked_up(graph, node)
        if size
    ]
    for _ in range(_MOST_STEPS):
        if not tasks:
            break
        name, low, high, why = tasks.pop()
        if name in inputs:
            before = found.get(name, (low, high, why))
            both = (max(low, before[0]), min(high, before[1]), before[2])
            found[name] = both if both[0] <= both[1] else before
        elif name in makers:
            tasks += [(*own, why) for own in _before(graph, makers[name], low, high)]
    return found


def _before(graph: Lookups, node: Node, low: int, high: int) -> Iterator[tuple[str, int, int]]:
    """Bounds of an operator's inputs for its output to lie within bounds."""
    if node.kind in _PASSING:
        yield node.inputs[0], low, high
    elif node.kind in _JOINING:
        for name in node.inputs:
            yield name, low, high
    elif node.kind in ("Where", "SELECT_V2"):
        for name in node.inputs[1:3]:
            yield name, low, high
    elif node.kind in _SUMS and len(node.inputs) == 2:
        left, right = node.inputs
        if right in graph.constants:
            ends = sorted(_SUMS[node.kind] * end for end in graph.constants[right])
            yield left, low - ends[0], high - ends[1]
        elif left in graph.constants and _SUMS[node.kind] > 0:
            yield right, low - graph.constants[left][0], high - graph.constants[left][1]


def _looked_up(graph: Lookups, node: Node) -> Iterator[tuple[str, int | None]]:
    """An operator's inputs that are indices, and how many entries each may name; None where it is not told."""
    names = node.inputs
    if node.kind in _ALONG_AXIS and len(names) > 1:
        axis = -1 if node.kind == "ArrayFeatureExtractor" else node.axis
        yield names[1], _side(graph, names[0], axis)
    elif node.kind in _CLASSES and len(names) > 1:
        yield names[1], _side(graph, names[0], 1)
    elif node.kind in _ALONG_SEVERAL and len(names) > 1:
        depth = _side(graph, names[1], -1) or len(graph.shapes.get(names[0], ()))
        sides = [_side(graph, names[0], node.batch + at) for at in range(depth)]
        known = [side for side in sides if side is not None]
        yield names[1], min(known) if known and len(known) == len(sides) else None
    elif node.kind in _ONE_HOT and len(names) > 1 and names[1] in graph.constants:
        yield names[0], graph.constants[names[1]][0]
    for index, table in _ROWS.get(node.kind, ()):
        if max(index, table) < len(names) and names[index] and names[table]:
            yield names[index], _side(graph, names[table], 0)


def _side(graph: Lookups, name: str, axis: int) -> int | None:
    shape = graph.shapes.get(name, ())
    side = shape[axis] if -len(shape) <= axis < len(shape) else None
    return side if isinstance(side, int) and side >= 0 else None
