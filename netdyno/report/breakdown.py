"""Where a network's time goes: its cost from a lookup table, layer by layer, under names that people can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netdyno.nas.space import Population, Space
from netdyno.profiler.cost.cost import LayerCost
from netdyno.profiler.layers import Conv, GlobalPool, Layer, Linear, MBConv


@dataclass(frozen=True)
class Part:
    """A layer's share of a network's latency; ``stage`` groups neighbours, ``shape`` is its input and output."""

    stage: str
    label: str
    shape: str
    latency_ms: float


def breakdown(cost: LayerCost, space: Space, genes: Population) -> list[Part]:
    """The parts that one architecture's latency adds up from: a call's overhead, then the layers as they run.

    Raises:
        InputError: the table lacks a layer at the network's input size.
    """
    X = space.check(genes)
    costs = cost.layer_costs(X)[0][space.layer_ids(X)[0] >= 0].tolist()
    overhead = max(float(cost(X)[0]) - sum(costs), 0.0)
    layers = space.layers(genes)
    named = zip(_names(layers), layers, costs, strict=True)
    parts = [Part(stage, label, _shape(layer), latency) for (stage, label), layer, latency in named]
    return [Part("overhead", "overhead of a call", "", overhead), *parts]


def _names(layers: Sequence[Layer]) -> Iterator[tuple[str, str]]:
    """Stage and label of each layer: a unit begins at the inverted bottleneck that changes size or channels."""
    unit = block = 0
    for layer in layers:
        if not isinstance(layer, MBConv):
            stage = "head" if unit else "stem"
            yield stage, f"{stage} · {_work(layer)}"
            continue
        if layer.stride > 1 or layer.cin != layer.cout:
            unit, block = unit + 1, 0
        block += 1
        work = f"k{layer.kernel} e{layer.mid / layer.cin:.2g}"
        yield (f"unit {unit}", f"unit {unit}.{block} · {work}") if unit else ("stem", f"stem · {work}")


def _work(layer: Layer) -> str:
    return f"conv {layer.kernel}×{layer.kernel}" if isinstance(layer, Conv) else layer.kind


def _shape(layer: Layer) -> str:
    match layer:
        case Conv() | MBConv():
            height, width = -(-layer.h // layer.stride), -(-layer.w // layer.stride)
            return f"{layer.h}×{layer.w}×{layer.cin} → {height}×{width}×{layer.cout}"
        case GlobalPool():
            return f"{layer.h}×{layer.w}×{layer.cin} → {layer.cin}"
        case Linear():
            return f"{layer.cin} → {layer.cout}"
    return "×".join(map(str, layer.input_shape))
