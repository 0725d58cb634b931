"""Evaluate points of a front for real: latency on the device, accuracy on data, predictions beside them.

A device is not as fast as it was when its table was made, and a table's error does not hold that. So some of the
table's own networks are measured again in the same shuffled rounds: how much slower they have become is the device's
drift, what remains is the prediction's error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.space import Population, Space, parse_genes
from netdyno.profiler.plan import VALIDATION, Group
from netdyno.profiler.profile import profile_networks
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import LookupTable, format_genes
from netdyno.runs import MEASURED_COLUMNS

ANCHORS = 20
"""Networks of the table that are measured again."""
LATENCY = "latency_ms"


@dataclass(frozen=True)
class Remeasured:
    """Rows of a run's measured points, and how many times as long the table's own networks take by now.

    ``drift`` is the median over ``anchors`` of them; 1 where the table has none.
    """

    rows: pd.DataFrame
    drift: float
    anchors: int

    @property
    def latency_error_pct(self) -> NDArray[np.float64]:
        """How far predicted latencies lie above those measured, the device's drift taken off."""
        predicted = self.drift * self.rows["latency_ms_predicted"].to_numpy(float)
        error: NDArray[np.float64] = 100 * (predicted / self.rows[LATENCY].to_numpy(float) - 1)
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
    names = [format_genes(genes) for genes in X]
    again = _anchors(table, space, names)
    graphs = {name: evaluated.subnet(genes).graph() for name, genes in zip(names, X, strict=True)}
    graphs |= {name: graph() for name, graph in zip(again.names(), again.graphs(), strict=True)}
    measured = profile_networks(graphs, run)
    latency = measured.loc[names]
    columns: dict[str, Any] = {
        "genes": names,
        "winner": "",
        "latency_ms_predicted": table.cost(space, LATENCY)(X),
        LATENCY: latency[LATENCY].to_numpy(),
        "latency_ms_low": latency["latency_ms_low"].to_numpy(),
        "latency_ms_high": latency["latency_ms_high"].to_numpy(),
        "accuracy_pct_predicted": predicted(X),
        "accuracy_pct": evaluated(X),
        "test_accuracy_pct": test(X),
        "macs": space.macs(X),
        "params": space.params(X),
        "peak_activation_bytes": space.peak_activation_bytes(X),
    }
    ratios = measured.loc[again.names(), LATENCY] / table.networks.loc[again.names(), LATENCY]
    drift = float(ratios.median()) if len(ratios) else 1.0
    return Remeasured(pd.DataFrame(columns)[list(MEASURED_COLUMNS)], drift, len(ratios))


def _anchors(table: LookupTable, space: Space, others: list[str]) -> Group:
    """Random networks of a table that no calibration saw."""
    role = table.networks["method"] == f"measured: {VALIDATION}"
    known = [str(name) for name in table.networks.index[role & (table.networks["valid"] == 1)]]
    genes = [parse_genes(space, name) for name in known if name not in others][:ANCHORS]
    return Group(VALIDATION, space, np.array(genes, np.int64).reshape(len(genes), len(space.cardinalities)))
