"""The NAS-Bench-201 space (Dong & Yang 2020).

One cell of four nodes, all six edges between them chosen from five operations; three stages of five cells on 32×32
input with 16, 32 and 64 channels, residual blocks between them. 6 genes, named after the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from netdyno.exporters.graph import Graph, GraphBuilder
from netdyno.nas.space import GeneGroup, Population
from netdyno.nas.spaces.slots import Slot, SlottedSpace
from netdyno.profiler.layers import Add, AvgPool, Conv, GlobalPool, Linear, Norm, PreConv, PreResidual, Zero
from netdyno.profiler.lower import Weights, lower, no_weights

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NODES = 4
EDGES = tuple((source, target) for target in range(1, NODES) for source in range(target))
"""Edges in execution order; a node is the sum of the edges into it."""
CELLS = 5
SIDES = (32, 16, 8)
CHANNELS = (16, 32, 64)
_SKIP = OPERATIONS.index("skip_connect")

Put = Callable[..., str]


class NasBench201(SlottedSpace):
    """NAS-Bench-201 for any number of classes.

    An operation whose result goes nowhere is executed all the same, as it was when measured: every gene counts.

    Raises:
        InputError: a number of classes that cannot be.
    """

    name = "nasbench201"
    groups = tuple(GeneGroup(f"e{source}{target}", OPERATIONS) for source, target in EDGES)

    def __init__(self, classes: int = 10) -> None:
        super().__init__(classes)

    def slots(self) -> list[Slot]:
        """Stem, five cells of six edges and three sums a stage, residual blocks between stages, head."""
        slots = [Slot((Conv(SIDES[0], SIDES[0], 3, CHANNELS[0], 3, 1, 1, "none"),))]
        shapes = [(side, side, channels) for side, channels in zip(SIDES, CHANNELS, strict=True)]
        for stage, shape in enumerate(shapes):
            if stage:
                slots.append(Slot((PreResidual(*shapes[stage - 1], shape[2], 3, 2),)))
            convolutions = (PreConv(*shape, shape[2], kernel, 1) for kernel in (1, 3))
            operations = (Zero(*shape), None, *convolutions, AvgPool(*shape, 3))
            for _ in range(CELLS):
                for edge, (source, _target) in enumerate(EDGES):
                    slots.append(Slot(operations, (edge,)))
                    slots += [Slot((Add(*shape),))] if source else []
        head = (Norm(*shapes[-1]), GlobalPool(*shapes[-1]), Linear(CHANNELS[-1], self.classes))
        return [*slots, *(Slot((layer,)) for layer in head)]

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
        count = iter(range(len(self._slots)))

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
