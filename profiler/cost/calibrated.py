"""The additive cost corrected for what isolated layers get wrong, fitted to whole networks measured beside them.

A layer that runs alone, again and again, finds its weights in the nearest cache, and pays the runtime for bringing
its input into the layout of its kernels; within a network the weights of all other layers have passed since, and the
layout stays. A model alone keeps a file, an arena and tables of its own; within a network they are shared. So each
correction is a quantity of the layers times a coefficient that cannot be negative: what is cold costs more, what is
paid once for all costs less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from netdyno.base.errors import InputError
from netdyno.exporters.graph import FP32_BYTES
from netdyno.profiler.cost.additive import AdditiveCost
from netdyno.profiler.cost.cost import Floats, GeneSpace, LayerCost
from netdyno.profiler.layers import Layer
from netdyno.profiler.lower import lower, no_weights
from netdyno.profiler.statistics import NORMAL_95
from netdyno.profiler.work import work

MEASURED = "measured"
NETWORK = "network"
_OF_WORK = {
    "layers": 1.0,
    "dense_macs": 1.0,
    "grouped_macs": 1.0,
    "depthwise_macs": 1.0,
    "weight_bytes": 1.0,
    "input_bytes": -1.0,
}
TERMS = {
    "latency_ms": _OF_WORK,
    "energy_mj": _OF_WORK,
    "memory_bytes": {NETWORK: 1.0, "layers": -1.0, "weight_bytes": 1.0},
}
"""For each metric, whether a quantity adds to what isolated layers take or is to be taken off; ``network`` is 1."""
LARGEST = 1e30
LEAST = 14
"""Networks that a calibration needs: twice as many as there are coefficients."""


@dataclass(frozen=True)
class Calibration:
    """A metric's coefficients: of what isolated layers take (without unit), and cost per unit of each other term."""

    metric: str
    coefficients: Mapping[str, float]

    @classmethod
    def parse(cls, metric: str, record: Any) -> Calibration:
        """A metric's calibration as a table's descriptor holds it.

        Raises:
            InputError: an unknown term, or a coefficient that is no number or negative.
        """
        if metric not in TERMS:
            raise InputError(f"not a calibration: there is none of {metric}")
        known = (MEASURED, *TERMS[metric])
        if not isinstance(record, dict) or not set(record) <= set(known) or MEASURED not in record:
            raise InputError(f"not a calibration: its terms are {', '.join(known)}")
        for term, value in record.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LARGEST:
                raise InputError(f"not a calibration: {term} is {value!r}, not a positive number or zero")
        return cls(metric, {term: float(value) for term, value in record.items()})

    def per_layer(self, layers: Sequence[Layer]) -> Floats:
        """What is added to each layer, ``(layers,)``."""
        weights = [sign * self.coefficients.get(term, 0.0) for term, sign in TERMS[self.metric].items()]
        corrections: Floats = quantities(layers, self.metric) @ weights
        return corrections


class CalibratedCost(LayerCost):
    """The cost of architectures from a lookup table and its calibration.

    ``error`` is the root mean square relative error on networks that the calibration did not see; NaN if there
    were none.
    """

    def __init__(self, isolated: AdditiveCost, space: GeneSpace, calibration: Calibration, error: float) -> None:
        self.name = isolated.name
        self.space = space
        self._isolated = isolated
        self._measured = calibration.coefficients[MEASURED]
        self._error = error
        self.once = isolated.once + calibration.coefficients.get(NETWORK, 0.0)
        self._corrections = np.append(calibration.per_layer(space.vocabulary()), 0.0)

    def __call__(self, X: NDArray[np.int64]) -> Floats:
        """``X (n, genes) int64`` to ``(n,)``.

        Raises:
            InputError: the table lacks a layer at the network's input size.
        """
        beyond = self._measured * (self._isolated(X) - self._isolated.once)
        corrections = self._corrections[self.space.layer_ids(X)].sum(axis=1)
        cost: Floats = np.maximum(self.once + beyond + corrections, 0.0)
        return cost

    def interval(self, X: NDArray[np.int64]) -> Floats:
        """95 % interval ``(n, 2)``, from the error on unseen networks; else from the rows' own intervals."""
        cost = self(X)
        if math.isnan(self._error):
            return self._isolated.interval(X) + (cost - self._isolated(X))[:, None]
        half = NORMAL_95 * self._error * cost
        return np.stack([np.maximum(cost - half, 0.0), cost + half], axis=1)

    def slot_costs(self, X: NDArray[np.int64]) -> Floats:
        """What each slot adds, ``(n, slots)``: its row beyond the overhead, corrected."""
        corrections = self._corrections[self.space.layer_ids(X)]
        costs: Floats = self._measured * self._isolated.slot_costs(X) + corrections
        return costs


def calibrate(isolated: AdditiveCost, space: GeneSpace, conditions: Mapping[str, Any]) -> LayerCost:
    """The calibrated cost where a table's conditions hold a calibration of the metric, else the isolated one.

    Raises:
        InputError: what stands there is no calibration.
    """
    records = conditions.get("calibration")
    if not isinstance(records, dict) or isolated.name not in records:
        return isolated
    calibration = Calibration.parse(isolated.name, records[isolated.name])
    return CalibratedCost(isolated, space, calibration, _error(isolated.name, conditions))


def _error(metric: str, conditions: Mapping[str, Any]) -> float:
    """The table's root mean square relative error on unseen networks, NaN where it states none."""
    try:
        error = float(conditions["validation"][metric]["unseen"]["calibrated"]["rmspe_pct"]) / 100
    except (KeyError, TypeError, ValueError, OverflowError):
        return math.nan
    return error if error >= 0 else math.nan


def fit_calibration(isolated: AdditiveCost, space: GeneSpace, X: NDArray[np.int64], y: Floats) -> Calibration:
    """Non-negative least squares of relative errors on networks ``X (n, genes)`` of measured cost ``y (n,)``.

    Raises:
        InputError: too few networks.
    """
    if len(X) < LEAST:
        raise InputError(f"a calibration needs at least {LEAST} measured networks, not {len(X)}")
    terms = TERMS[isolated.name]
    by_layer = np.append(quantities(space.vocabulary(), isolated.name), np.zeros((1, len(terms))), axis=0)
    totals = by_layer[space.layer_ids(X)].sum(axis=1)
    totals[:, [term == NETWORK for term in terms]] = 1.0
    beyond = (isolated(X) - isolated.once)[:, None]
    columns = np.concatenate([beyond, totals * list(terms.values())], axis=1)
    units = np.abs(columns).mean(axis=0)
    units[units == 0] = 1.0  # a quantity that the space does not have
    found, _ = nnls(columns / units / y[:, None], (y - isolated.once) / y)
    coefficients = dict(zip((MEASURED, *terms), (found / units).tolist(), strict=True))
    known = {term: value for term, value in coefficients.items() if value or term == MEASURED}
    return Calibration(isolated.name, known)


def quantities(layers: Sequence[Layer], metric: str) -> Floats:
    """Each layer's quantities for a metric's terms, ``(layers, terms)``; none of what a network has once."""
    rows = []
    for layer in layers:
        counted = work(lower(layer, no_weights(layer)))
        own = {NETWORK: 0, "layers": 1, "input_bytes": FP32_BYTES * math.prod(layer.input_shape)}
        rows.append([own[term] if term in own else getattr(counted, term) for term in TERMS[metric]])
    return np.array(rows, np.float64).reshape(len(layers), len(TERMS[metric]))
