"""A lookup table compiled for a space: the cost of a network is made up of the costs of its layers.

Latency and energy add up: a call's overhead once, and what each layer takes beyond it. Of memory, what a layer keeps
(weights, as the runtime holds them) adds up in the same way, and of its activations only the largest peak counts. A
layer that was measured at a smaller and at a larger size, but not at its own, is put between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.base.errors import InputError, TableInvalid
from netdyno.profiler.cost.between import between_rows
from netdyno.profiler.cost.cost import CHUNK, Floats, GeneSpace, LayerCost
from netdyno.profiler.layers import Layer, Overhead
from netdyno.profiler.table import METRICS, LookupTable, parse_row


@dataclass(frozen=True)
class _Compiled:
    """Costs by network input size and layer, ``(sizes + 1, vocabulary + 1)``.

    The last row is for sizes that the table does not tell apart, the last column an empty slot's 0.
    """

    value: Floats
    low: Floats
    high: Floats


class AdditiveCost(LayerCost):
    """The cost of architectures from a lookup table; ``name`` is the metric, ``once`` the overhead of a call."""

    def __init__(
        self, space: GeneSpace, metric: str, sizes: NDArray[np.int64], costs: _Compiled, overhead: float
    ) -> None:
        self.name = metric
        self.space = space
        self._sizes = sizes
        self._costs = costs
        self._activations = np.array([*(layer.peak_activation_bytes for layer in space.vocabulary()), 0.0])
        self.once = overhead

    def __call__(self, X: NDArray[np.int64]) -> Floats:
        """``X (n, genes) int64`` to ``(n,)``.

        Raises:
            InputError: the table lacks a layer at the network's input size.
        """
        return self._total(self.space.layer_ids(X))

    def interval(self, X: NDArray[np.int64]) -> Floats:
        """95 % interval ``(n, 2)``, as far as the rows' own intervals go.

        Errors of different rows are taken as independent; a row that is used k times errs k times the same way.
        The overhead's own error is left out.

        Raises:
            InputError: the table lacks a layer at the network's input size.
        """
        ids = self.space.layer_ids(X)
        total = self._total(ids)
        if self.name == "memory_bytes":
            return np.stack([total, total], axis=1)
        chunks = [self._errors(ids[i : i + CHUNK]) for i in range(0, len(ids), CHUNK)]
        below, above = np.concatenate([np.empty((0, 2)), *chunks]).T
        return np.stack([total - below, total + above], axis=1)

    def slot_costs(self, X: NDArray[np.int64]) -> Floats:
        """What each slot adds, ``(n, slots)``: its row beyond the overhead."""
        costs = self._gather(self._costs.value, self.space.layer_ids(X))
        return np.where(self.space.layer_ids(X) >= 0, np.maximum(costs - self.once, 0.0), 0.0)

    def _total(self, ids: NDArray[np.int64]) -> Floats:
        values, once = self._gather(self._costs.value, ids), np.full(len(ids), self.once)
        if np.isnan(values).any():
            self._explain(ids, np.isnan(values))
        if self.name == "memory_bytes":
            activations = self._activations[ids]
            values, once = values - activations, once + activations.max(axis=1)
        total: Floats = once + np.where(ids >= 0, np.maximum(values - self.once, 0.0), 0.0).sum(axis=1)
        return total

    def _errors(self, ids: NDArray[np.int64]) -> Floats:
        """How far the sum may lie below and above, ``(n, 2)``: rows' errors, each times its uses, in quadrature."""
        value, low, high = (
            self._gather(part, ids) for part in (self._costs.value, self._costs.low, self._costs.high)
        )
        uses = (ids[:, :, None] == ids[:, None, :]).sum(axis=2)
        # Summed over the slots of a row, uses · error² is (uses · error)².
        squares = [(uses * error**2).sum(axis=1) for error in (value - low, high - value)]
        errors: Floats = np.sqrt(np.stack(squares, axis=1))
        return errors

    def _gather(self, costs: Floats, ids: NDArray[np.int64]) -> Floats:
        """The costs of each slot, ``(n, slots)``; a network's input size is that of its first layer."""
        found: Floats = costs[0, ids] if len(costs) == 1 else costs[self._sizes[ids[:, :1]], ids]
        return found

    def _explain(self, ids: NDArray[np.int64], missing: NDArray[np.bool_]) -> None:
        row, slot = np.argwhere(missing)[0]
        layers = self.space.vocabulary()
        size = layers[ids[row, 0]].input_shape[-1]
        key = layers[ids[row, slot]].key
        raise InputError(f"the table has no {self.name} of {key} in a network with {size} px input", layer=key)


def compile_cost(table: LookupTable, space: GeneSpace, metric: str) -> AdditiveCost:
    """A table's metric as a cost on a space.

    Raises:
        InputError: the table has no such metric, or lacks layers of the space.
        TableInvalid: a cost in it is negative or infinite.
    """
    if metric not in METRICS:
        raise InputError(f"no metric {metric!r} in tables; they have {', '.join(METRICS)}")
    measured = table.layers[(table.layers["valid"] == 1) & table.layers[metric].notna()]
    if measured.empty:
        raise InputError(f"table {table.name} has no {metric}")
    values = measured[metric].to_numpy(float)
    wrong = measured.index[~np.isfinite(values) | (values < 0)]
    if len(wrong):
        raise TableInvalid(f"table {table.name}: {metric} of {wrong[0]} is no cost", layer=str(wrong[0]))
    columns = list(dict.fromkeys(_interval_columns(metric)))
    rows = pd.concat([measured[columns].astype(float), between_rows(measured, space.vocabulary(), columns)])
    costs, sizes = _arrange(rows, space.vocabulary(), metric)
    lacking = np.flatnonzero(np.isnan(costs.value).all(axis=0))
    if len(lacking):  # neither measured nor between measured sizes
        key = space.vocabulary()[lacking[0]].key
        message = f"table {table.name} lacks {len(lacking)} of the {len(space.vocabulary())} layers of {space.name}"
        raise InputError(f"{message}, {key} for one", layer=key)
    overhead = float(rows[metric].get(Overhead().key, 0.0))
    return AdditiveCost(space, metric, sizes, costs, overhead)


def _arrange(rows: pd.DataFrame, vocabulary: Sequence[Layer], metric: str) -> tuple[_Compiled, NDArray[np.int64]]:
    """The rows as arrays, and the position in them of each vocabulary layer's input size."""
    position = {layer: i for i, layer in enumerate(vocabulary)}
    parsed = [parse_row(str(key)) for key in rows.index]
    known = sorted({size for _, size in parsed if size is not None})
    shape = (len(known) + 1, len(vocabulary) + 1)
    value, low, high = (np.full(shape, np.nan) for _ in range(3))
    columns = [rows[name].to_numpy(float, na_value=np.nan) for name in _interval_columns(metric)]
    for own_size in (False, True):  # rows of a network size come last and replace the plain ones
        for (layer, size), *numbers in zip(parsed, *columns, strict=True):
            if layer in position and own_size == (size is not None):
                where = (known.index(size) if size is not None else slice(None), position[layer])
                for array, number in zip((value, low, high), numbers, strict=True):
                    array[where] = number
    for array in (low, high):
        array[np.isnan(array)] = value[np.isnan(array)]
    for array in (value, low, high):
        array[:, -1] = 0.0
    sizes = np.array([_size_index(known, layer) for layer in vocabulary], np.int64)
    return _Compiled(value, low, high), sizes


def _interval_columns(metric: str) -> tuple[str, str, str]:
    return (metric, f"{metric}_low", f"{metric}_high") if metric == "latency_ms" else (metric, metric, metric)


def _size_index(known: list[int], layer: Layer) -> int:
    size: Any = layer.input_shape[-1]
    return known.index(size) if size in known else len(known)
