"""The NAS-Bench-201 space (Dong & Yang 2020).

One cell of four nodes, all six edges between them chosen from five operations; three stages of five cells on 32×32
input with 16, 32 and 64 channels, residual blocks between them. 6 genes, named after the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.exporters.graph import Graph, GraphBuilder
from netdyno.nas.space import GeneGroup, Population, Space
from netdyno.profiler.layer import Add, AvgPool, Conv, GlobalPool, Layer, Linear, Norm, PreConv, PreResidual, Zero
from netdyno.profiler.lower import Weights, lower, no_weights

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NODES = 4
EDGES = tuple((source, target) for target in range(1, NODES) for source in range(target))
"""Edges in execution order; a node is the sum of the edges into it."""
CELLS = 5
SIDES = (32, 16, 8)
CHANNELS = (16, 32, 64)
MOST_CLASSES = 100_000
_SKIP = OPERATIONS.index("skip_connect")

Put = Callable[..., str]


class NasBench201(Space):
    """NAS-Bench-201 for any number of classes.

    Raises:
        InputError: a number of classes that cannot be.
    """

    name = "nasbench201"

    def __init__(self, classes: int = 10) -> None:
        self.classes = int(classes)
        if not 1 <= self.classes <= MOST_CLASSES:
            raise InputError(f"{self.name}: classes must be from 1 to {MOST_CLASSES}, not {self.classes}")
        self.groups = tuple(GeneGroup(f"e{i}{j}", OPERATIONS) for i, j in EDGES)
        self._template = self._make_template()
        self._vocabulary = list(dict.fromkeys(layer for row in self._template for layer in row if layer is not None))

    def _make_template(self) -> list[tuple[Layer | None, ...]]:
        """The network's slots in execution order: one layer, or one for each operation; a skip has none."""
        slots: list[tuple[Layer | None, ...]] = [(Conv(SIDES[0], SIDES[0], 3, CHANNELS[0], 3, 1, 1, "none"),)]
        for stage, shape in enumerate(zip(SIDES, SIDES, CHANNELS, strict=True)):
            if stage:
                slots.append((PreResidual(SIDES[stage - 1], SIDES[stage - 1], CHANNELS[stage - 1], shape[2], 3, 2),))
            operations = (Zero(*shape), None, PreConv(*shape, shape[2], 1, 1), PreConv(*shape, shape[2], 3, 1))
            for _ in range(CELLS):
                for source, _target in EDGES:
                    slots.append((*operations, AvgPool(*shape, 3)))
                    slots += [(Add(*shape),)] if source else []
        last = (SIDES[-1], SIDES[-1], CHANNELS[-1])
        return [*slots, (Norm(*last),), (GlobalPool(*last),), (Linear(last[2], self.classes),)]

    @property
    def parameters(self) -> dict[str, Any]:
        """Classes."""
        return {"classes": self.classes}

    def active(self, X: Population) -> NDArray[np.bool_]:
        """All of them: an operation whose result goes nowhere is executed all the same, as it was when measured."""
        return np.ones_like(self.check(X), np.bool_)

    def vocabulary(self) -> Sequence[Layer]:
        """Four operations and a sum in each stage, and what all architectures share."""
        return self._vocabulary

    def layer_ids(self, X: Population) -> NDArray[np.int64]:
        """``(n, 141)``: stem, per stage five cells of six edges and three sums, residual blocks, head."""
        population = self.check(X)
        position: dict[Layer | None, int] = {layer: i for i, layer in enumerate(self._vocabulary)}
        position[None] = -1
        columns, edge = [], 0
        for slot in self._template:
            ids = np.array([position[layer] for layer in slot], np.int64)
            is_edge = len(slot) > 1
            columns.append(ids[population[:, edge % len(EDGES)]] if is_edge else np.full(len(population), ids[0]))
            edge += is_edge
        return np.stack(columns, axis=1)

    def graph(self, genes: Population, weights: Sequence[Weights] | None = None) -> Graph:
        """The op-level graph of one architecture; ``weights`` holds one mapping a layer of :meth:`layers`."""
        layers = self.layers(genes)
        each: Sequence[Weights | None] = [None] * len(layers) if weights is None else weights
        return self._wire(genes, (lower(layer, own) for layer, own in zip(layers, each, strict=True)))

    def peak_activation_bytes(self, X: Population) -> NDArray[np.int64]:
        """Largest sum of live FP32 activations of one inference in execution order, ``(n,)``, exact.

        A cell keeps several activations alive at once, so graphs are walked: milliseconds an architecture.
        """
        unique, inverse = np.unique(self.check(X), axis=0, return_inverse=True)
        outlines = {layer: lower(layer, no_weights(layer)) for layer in self._vocabulary}
        graphs = (self._wire(genes, (outlines[layer] for layer in self.layers(genes))) for genes in unique)
        peaks = np.array([graph.peak_activation_bytes() for graph in graphs], np.int64)
        return peaks[inverse.reshape(-1)]

    def _wire(self, genes: Population, lowered: Iterator[Graph]) -> Graph:
        """The lowered layers, in execution order, as one network."""
        (chosen,) = self.check(genes).tolist()
        builder = GraphBuilder(self.name)
        count = iter(range(len(self._template)))

        def put(*inputs: str, output: str = "") -> str:
            return builder.embed(next(lowered), f"{next(count):03d}.", *inputs, output=output)

        x = put(builder.input("input", (1, 3, SIDES[0], SIDES[0])))
        for stage in range(len(SIDES)):
            x = put(x) if stage else x
            for _ in range(CELLS):
                x = _cell(chosen, x, put)
        return builder.build(put(put(put(x)), output="output"))


def _cell(chosen: Sequence[int], x: str, put: Put) -> str:
    """A cell's nodes one after the other, each the sum of the edges from all before it."""
    nodes = [x]
    for edge, (source, target) in enumerate(EDGES):
        y = nodes[source] if chosen[edge] == _SKIP else put(nodes[source])
        if source:
            nodes[target] = put(nodes[target], y)
        else:
            nodes.append(y)
    return nodes[-1]
