"""The op-level graph: what is measured and what is shipped, before any file format.

Activations are NCHW, convolution weights OIHW, linear weights ``(out, in)``; batch norm is already folded.
Writers turn the layout into their own. The operators are few on purpose:

============  ==========================  ==================================================
op            weights                     attributes
============  ==========================  ==================================================
conv          weight (O,I/groups,k,k),    stride, padding (before), after, groups
              bias (O,)
linear        weight (out,in), bias       –
relu          –                           –
swish         –                           – (x · sigmoid(x))
h_swish       –                           – (x · relu6(x+3) / 6)
h_sigmoid     –                           – (relu6(x+3) / 6)
global_mean   –                           – (over height and width, kept as 1×1)
avg_pool      –                           kernel, stride, padding, after (not counted in the mean)
max_pool      –                           kernel, stride, padding, after (below all values)
shuffle       –                           groups (channels dealt out group by group)
flatten       –                           – ((n, c, 1, 1) to (n, c))
add, mul      –                           – (mul broadcasts a (n, c, 1, 1) second input)
identity      –                           –
zero          –                           – (x − x)
============  ==========================  ==================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from netdyno.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

FP32_BYTES = 4


@dataclass(frozen=True)
class Node:
    """One operator: activation inputs and output by name, weights by their names in the graph."""

    op: str
    inputs: tuple[str, ...]
    output: str
    weights: tuple[str, ...] = ()
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, with weights (FP32) and the NCHW shape of every activation."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    weights: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]

    def last_uses(self) -> dict[str, int]:
        """Position of the last node that reads each activation; outputs outlive every node."""
        last = dict.fromkeys(self.inputs, -1)
        for position, node in enumerate(self.nodes):
            last[node.output] = position
            last.update(dict.fromkeys(node.inputs, position))
        return last | dict.fromkeys(self.outputs, len(self.nodes))

    def batched(self, batch: int) -> Graph:
        """The same graph for this many inputs at a time; every activation has the batch first.

        Raises:
            InputError: fewer than one.
        """
        if batch < 1:
            raise InputError(f"the batch must be at least 1, not {batch}")
        return replace(self, shapes={name: (batch * shape[0], *shape[1:]) for name, shape in self.shapes.items()})

    def peak_activation_bytes(self) -> int:
        """Largest sum of live FP32 activations in execution order, input and output included, none in place."""
        size = {name: FP32_BYTES * math.prod(shape) for name, shape in self.shapes.items()}
        last = self.last_uses()
        live = set(self.inputs)
        peak = sum(size[name] for name in live)
        for position, node in enumerate(self.nodes):
            live.add(node.output)
            peak = max(peak, sum(size[name] for name in live))
            live = {name for name in live if last[name] > position}
        return peak


class GraphBuilder:
    """Builds a graph node by node; each method returns the name of the activation that it makes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inputs: list[str] = []
        self._nodes: list[Node] = []
        self._weights: dict[str, Array] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def input(self, name: str, shape: Sequence[int]) -> str:
        """A graph input of an NCHW (or NC) shape."""
        self._inputs.append(name)
        self._shapes[name] = tuple(shape)
        return name

    def conv(
        self, x: str, weight: Array, bias: Array, *, name: str, stride: int = 1, groups: int = 1, whole: bool = False
    ) -> str:
        """A convolution with a square kernel, padded by half of it on every side, an even one by less before.

        Where it is ``whole`` the kernel is as large as the activation, and nothing is padded.
        """
        batch, _, height, width = self._shapes[x]
        channels, _, kernel, _ = weight.shape
        before, after = (0, 0) if whole else ((kernel - 1) // 2, kernel // 2)
        height, width = (1, 1) if whole else (-(-height // stride), -(-width // stride))
        shape = (batch, channels, height, width)
        attributes = {"stride": stride, "padding": before, "after": after, "groups": groups}
        return self._node("conv", (x,), name, shape, {"weight": weight, "bias": bias}, attributes)

    def linear(self, x: str, weight: Array, bias: Array, *, name: str) -> str:
        """A fully connected layer on a flat activation."""
        shape = (self._shapes[x][0], weight.shape[0])
        return self._node("linear", (x,), name, shape, {"weight": weight, "bias": bias})

    def unary(self, op: str, x: str) -> str:
        """An operator without weights that keeps the shape: relu, swish, h_swish, h_sigmoid, identity, zero."""
        return self._node(op, (x,), f"{x}.{op}", self._shapes[x])

    def global_mean(self, x: str) -> str:
        """The mean over height and width, kept as 1×1."""
        return self._node("global_mean", (x,), f"{x}.mean", (*self._shapes[x][:2], 1, 1))

    def avg_pool(self, x: str, *, kernel: int, stride: int) -> str:
        """The mean over a window; what is padded counts for nothing.

        ``stride`` is 1, padded by half the odd ``kernel``, or the kernel itself, without padding.
        """
        padding = kernel // 2 if stride == 1 else 0
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in self._shapes[x][2:])
        attributes = {"kernel": kernel, "stride": stride, "padding": padding, "after": padding}
        return self._node("avg_pool", (x,), f"{x}.pool", (*self._shapes[x][:2], height, width), attributes=attributes)

    def max_pool(self, x: str, *, kernel: int, stride: int) -> str:
        """The largest in a window at every ``stride``-th position of a square activation, the last one included.

        What windows reach beyond the activation, in sum, is halved, the larger half after it.
        """
        *outer, height, width = self._shapes[x]
        side = -(-height // stride)
        beyond = max((side - 1) * stride + kernel - height, 0)
        attributes = {"kernel": kernel, "stride": stride, "padding": beyond // 2, "after": beyond - beyond // 2}
        return self._node("max_pool", (x,), f"{x}.pool", (*outer, side, -(-width // stride)), attributes=attributes)

    def shuffle(self, x: str, *, groups: int) -> str:
        """Channel j of group i becomes channel i of group j (Zhang et al. 2018, ShuffleNet)."""
        return self._node("shuffle", (x,), f"{x}.shuffle", self._shapes[x], attributes={"groups": groups})

    def flatten(self, x: str) -> str:
        """(n, c, 1, 1) to (n, c)."""
        return self._node("flatten", (x,), f"{x}.flat", self._shapes[x][:2])

    def add(self, a: str, b: str) -> str:
        """The sum of two activations of one shape."""
        return self._node("add", (a, b), f"{a}.add", self._shapes[a])

    def mul(self, a: str, b: str) -> str:
        """The product; ``b`` may be (n, c, 1, 1)."""
        return self._node("mul", (a, b), f"{a}.mul", self._shapes[a])

    def embed(self, graph: Graph, prefix: str, *inputs: str, output: str = "") -> str:
        """Another graph's nodes, its inputs bound to activations that are there; its names get the prefix.

        ``output`` renames what it makes.
        """
        rename = {activation: prefix + activation for activation in graph.shapes}
        rename |= dict(zip(graph.inputs, inputs, strict=True))
        if output:
            rename[graph.outputs[0]] = output
        self._weights.update({prefix + key: value for key, value in graph.weights.items()})
        self._shapes.update({rename[k]: shape for k, shape in graph.shapes.items() if k not in graph.inputs})
        self._nodes += [
            replace(
                node,
                inputs=tuple(rename[name] for name in node.inputs),
                output=rename[node.output],
                weights=tuple(prefix + name for name in node.weights),
            )
            for node in graph.nodes
        ]
        return rename[graph.outputs[0]]

    def build(self, *outputs: str) -> Graph:
        """The finished graph."""
        return Graph(self._name, tuple(self._inputs), outputs, tuple(self._nodes), self._weights, self._shapes)

    def _node(
        self,
        op: str,
        inputs: tuple[str, ...],
        output: str,
        shape: tuple[int, ...],
        weights: Mapping[str, Array] | None = None,
        attributes: Mapping[str, int] | None = None,
    ) -> str:
        names = {f"{output}.{part}": value for part, value in (weights or {}).items()}
        self._weights.update(names)
        self._shapes[output] = shape
        self._nodes.append(Node(op, inputs, output, tuple(names), attributes or {}))
        return output


def join(name: str, graphs: Sequence[Graph], outputs: Mapping[int, str] | None = None) -> Graph:
    """One graph out of a chain: each graph's single output becomes the next one's single input.

    Names are prefixed by the position (``03.expand``), so that equal layers may repeat. ``outputs`` are the names of
    what the chain gives, by position; by default the last alone, as ``output``.
    """
    named = {len(graphs) - 1: "output"} if outputs is None else outputs
    builder = GraphBuilder(name)
    (first,) = graphs[0].inputs
    link = builder.input(first, graphs[0].shapes[first])
    for position, graph in enumerate(graphs):
        link = builder.embed(graph, f"{position:02d}.", link, output=named.get(position, ""))
    return builder.build(*named.values())
