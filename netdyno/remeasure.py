"""Evaluate points of a front for real: latency on the device, accuracy on data, predictions beside them.

A device is not as fast as it was when its table was made, and a table's error does not hold that; nor is a network
as fast in other company. So the table's own networks are measured again in the same shuffled rounds: how much slower
they have become is the device's drift, what remains is the prediction's error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.exporters.graph import Graph
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.space import Population, Space, parse_genes
from netdyno.profiler.plan import VALIDATION, Group
from netdyno.profiler.profile import profile_networks
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import LookupTable, format_genes
from netdyno.runs import MEASURED_COLUMNS

LATENCY = "latency_ms"


@dataclass(frozen=True)
class Remeasured:
    """Rows of measured networks, and the table's own networks in ``anchors``, measured again.

    Those have ``latency_ms``, what the table holds of it, ``latency_ms_then``, ``latency_ms_predicted``, and whether
    no fit saw them, ``unseen``.
    """

    rows: pd.DataFrame
    anchors: pd.DataFrame

    @property
    def drift(self) -> float:
        """How many times as long the table's own networks take by now, in the median; 1 where it has none."""
        ratios = self.anchors[LATENCY] / self.anchors["latency_ms_then"]
        return float(ratios.median()) if len(ratios) else 1.0

    @property
    def latency_error_pct(self) -> NDArray[np.float64]:
        """How far predicted latencies of the points lie above those measured, the drift taken off."""
        return self._error_pct(self.rows)

    @property
    def anchor_error_pct(self) -> NDArray[np.float64]:
        """The same of the table's own networks that no fit saw: what a table's error is when it is measured anew."""
        return self._error_pct(self.anchors[self.anchors["unseen"]])

    def _error_pct(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        predicted, measured = (rows[name].to_numpy(float) for name in ("latency_ms_predicted", LATENCY))
        error: NDArray[np.float64] = 100 * (self.drift * predicted / measured - 1)
        return error


def remeasure(
    X: Population,
    *,
    table: LookupTable,
    predicted: Accuracy,
    evaluated: EvaluatedAccuracy,
    test: EvaluatedAccuracy,
    run: Profiling,
) -> Remeasured:
    """Measure ``X (n, genes)`` on the device of ``table``, and evaluate it.

    Accuracy is evaluated on the split that was searched on, and on the test split that nothing else saw.

    Raises:
        DeviceError: the device was lost.
    """
    space: Space = evaluated.supernet.space
    graphs = {format_genes(genes): evaluated.subnet(genes).graph() for genes in X}
    found = measure_again(graphs, table=table, space=space, run=run)
    latencies: dict[str, Any] = {str(name): column.to_numpy() for name, column in found.rows.items()}
    columns: dict[str, Any] = {
        "genes": list(graphs),
        "winner": "",
        **latencies,
        "accuracy_pct_predicted": predicted(X),
        "accuracy_pct": evaluated(X),
        "test_accuracy_pct": test(X),
        "macs": space.macs(X),
        "params": space.params(X),
        "peak_activation_bytes": space.peak_activation_bytes(X),
    }
    return replace(found, rows=pd.DataFrame(columns)[list(MEASURED_COLUMNS)])


def measure_again(graphs: Mapping[str, Graph], *, table: LookupTable, space: Space, run: Profiling) -> Remeasured:
    """Measure networks by their genes as text on the device of ``table``: latency, and what else ``run`` measures.

    Raises:
        DeviceError: the device was lost.
    """
    names, cost = list(graphs), table.cost(space, LATENCY)
    again = _anchors(table, space, names)
    others = {name: graph() for name, graph in zip(again.names(), again.graphs(), strict=True)}
    measured = profile_networks({**graphs, **others}, run)
    then = table.networks.loc[again.names()]
    X = np.array([parse_genes(space, name) for name in names], np.int64)
    rows = measured.loc[names, [LATENCY, "latency_ms_low", "latency_ms_high", "memory_bytes"]]
    anchors = {
        LATENCY: measured.loc[again.names(), LATENCY],
        "latency_ms_then": then[LATENCY],
        "latency_ms_predicted": pd.Series(cost(again.X), again.names(), float),
        "unseen": then["method"] == f"measured: {VALIDATION}",
    }
    return Remeasured(rows.assign(latency_ms_predicted=cost(X)), pd.DataFrame(anchors))


def _anchors(table: LookupTable, space: Space, others: list[str]) -> Group:
    """The networks of a table that are of its space; those at sizes between its own are of another."""
    known = [str(name) for name in table.networks.index[table.networks["valid"] == 1]]
    genes = [parse_genes(space, name) for name in known if name not in others and "@" not in name]
    return Group(VALIDATION, space, np.array(genes, np.int64).reshape(len(genes), len(space.cardinalities)))
