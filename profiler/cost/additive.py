"""A lookup table compiled for a space: the cost of a network is made up of the costs of its layers.

Latency and energy add up: a call's overhead once, and what each layer takes beyond it. A table from elsewhere may
state a constant: it stands for the layers that every network has and the table lacks. Of memory, what a layer keeps
(weights, as the runtime holds them) adds up in the same way, and of its activations only the largest peak counts. A
layer that was measured at a smaller and at a larger size, but not at its own, is put between them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.base.errors import InputError, TableInvalid
from netdyno.profiler.cost.arrays import CostArrays, arrange
from netdyno.profiler.cost.between import between_rows
from netdyno.profiler.cost.cost import CHUNK, Floats, GeneSpace, LayerCost
from netdyno.profiler.layers import Overhead
from netdyno.profiler.table import METRICS, LookupTable

PROBES = 64
"""Random architectures, to see which layers every network has."""
LARGEST = 1e30


class AdditiveCost(LayerCost):
    """The cost of architectures from a lookup table; ``name`` is the metric.

    ``once`` is a call's overhead and the constant that the table states.
    """

    def __init__(self, space: GeneSpace, metric: str, costs: CostArrays, overhead: float, constant: float) -> None:
        self.name = metric
        self.space = space
        self._costs = costs
        self._activations = np.array([*(layer.peak_activation_bytes for layer in space.vocabulary()), 0.0])
        self._overhead = overhead
        self.once = overhead + constant

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
        ids = self.space.layer_ids(X)
        return self._beyond(self._costs.gather(self._costs.value, ids), ids)

    def _total(self, ids: NDArray[np.int64]) -> Floats:
        values, once = self._costs.gather(self._costs.value, ids), np.full(len(ids), self.once)
        if np.isnan(values).any():
            self._explain(ids, np.isnan(values))
        if self.name == "memory_bytes":
            activations = self._activations[ids]
            values, once = values - activations, once + activations.max(axis=1)
        total: Floats = once + self._beyond(values, ids).sum(axis=1)
        return total

    def _beyond(self, values: Floats, ids: NDArray[np.int64]) -> Floats:
        """What each slot takes beyond the overhead of a call, which an empty one has no part in, ``(n, slots)``."""
        return np.where(ids >= 0, np.maximum(values - self._overhead, 0.0), values)

    def _errors(self, ids: NDArray[np.int64]) -> Floats:
        """How far the sum may lie below and above, ``(n, 2)``: rows' errors, each times its uses, in quadrature."""
        value, low, high = (
            self._costs.gather(part, ids) for part in (self._costs.value, self._costs.low, self._costs.high)
        )
        uses = (ids[:, :, None] == ids[:, None, :]).sum(axis=2)
        # Summed over the slots of a row, uses · error² is (uses · error)².
        squares = [(uses * error**2).sum(axis=1) for error in (value - low, high - value)]
        errors: Floats = np.sqrt(np.stack(squares, axis=1))
        return errors

    def _explain(self, ids: NDArray[np.int64], missing: NDArray[np.bool_]) -> None:
        row, slot = np.argwhere(missing)[0]
        layers = self.space.vocabulary()
        size = layers[ids[row, 0]].input_shape[-1]
        key = layers[ids[row, slot]].key
        where = f"at place {slot} of a network with {size} px input"
        raise InputError(f"the table has no {self.name} of {key} {where}", layer=key)


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
    probes = space.layer_ids(space.sample(PROBES, 0))
    costs = arrange(rows, space.vocabulary(), probes.shape[1], _interval_columns(metric))
    constant = _constant(table, metric)
    if constant:
        costs.cover(probes[0, (probes == probes[0]).all(axis=0)])
    lacking = np.flatnonzero(np.isnan(costs.value).all(axis=0))
    if len(lacking):  # neither measured nor between measured sizes
        key = space.vocabulary()[lacking[0]].key
        message = f"table {table.name} lacks {len(lacking)} of the {len(space.vocabulary())} layers of {space.name}"
        raise InputError(f"{message}, {key} for one", layer=key)
    overhead = float(rows[metric].get(Overhead().key, 0.0))
    return AdditiveCost(space, metric, costs, overhead, constant)


def _constant(table: LookupTable, metric: str) -> float:
    """What each network takes beside the layers that the table has rows for, as its conditions say."""
    constant = table.conditions.get("constant_ms", 0.0) if metric == "latency_ms" else 0.0
    if isinstance(constant, bool) or not isinstance(constant, int | float) or not 0 <= constant < LARGEST:
        raise InputError(f"table {table.name}: constant_ms is {constant!r}, not a positive number or zero")
    return float(constant)


def _interval_columns(metric: str) -> tuple[str, str, str]:
    return (metric, f"{metric}_low", f"{metric}_high") if metric == "latency_ms" else (metric, metric, metric)
