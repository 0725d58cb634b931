"""What a graph asks of a device: the quantities that costs are made of, counted off its nodes."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields

from netdyno.exporters.graph import FP32_BYTES, Graph, Node


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates by the kind of convolution, bytes moved, and operators called.

    ``moved_bytes`` is what the operators read and write of activations, each on its own, FP32; ``weight_bytes`` what
    they read of weights.
    """

    dense_macs: int = 0
    grouped_macs: int = 0
    depthwise_macs: int = 0
    moved_bytes: int = 0
    weight_bytes: int = 0
    operators: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


QUANTITIES = tuple(field.name for field in fields(Work))


def work(graph: Graph) -> Work:
    """The sum over a graph's nodes."""
    return sum((_node_work(graph, node) for node in graph.nodes), Work())


def _node_work(graph: Graph, node: Node) -> Work:
    moved = FP32_BYTES * sum(math.prod(graph.shapes[name]) for name in (*node.inputs, node.output))
    if not node.weights:
        return Work(moved_bytes=moved, operators=1)
    weight, *_ = shapes = [graph.weights[name].shape for name in node.weights]
    macs = math.prod(weight) * math.prod(graph.shapes[node.output][2:])
    held = FP32_BYTES * sum(map(math.prod, shapes))
    return Work(**{_kind(node, weight): macs}, moved_bytes=moved, weight_bytes=held, operators=1)


def _kind(node: Node, weight: tuple[int, ...]) -> str:
    """The quantity that a node's multiply-accumulates count towards."""
    if node.attributes.get("groups", 1) == 1:
        return "dense_macs"
    return "depthwise_macs" if weight[1] == 1 else "grouped_macs"
