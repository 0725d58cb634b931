"""Evaluate points of a front for real: latency on the device, accuracy on data, predictions beside them."""

from __future__ import annotations

import pandas as pd

from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.space import Population, Space
from netdyno.profiler.cost.cost import Cost
from netdyno.profiler.profile import profile_networks
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import format_genes
from netdyno.runs import MEASURED_COLUMNS


def remeasure(
    X: Population,
    *,
    cost: Cost,
    predicted: Accuracy,
    evaluated: EvaluatedAccuracy,
    test: EvaluatedAccuracy,
    run: Profiling,
) -> pd.DataFrame:
    """Rows of a run's measured points for ``X (n, genes)``.

    Accuracy is evaluated on the split that was searched on, and on the test split that nothing else saw.

    Raises:
        DeviceError: the device was lost.
    """
    space: Space = evaluated.supernet.space
    names = [format_genes(genes) for genes in X]
    graphs = {name: evaluated.subnet(genes).graph() for name, genes in zip(names, X, strict=True)}
    latency = profile_networks(graphs, run).loc[names]
    rows = {
        "genes": names,
        "winner": "",
        "latency_ms_predicted": cost(X),
        "latency_ms": latency["latency_ms"].to_numpy(),
        "latency_ms_low": latency["latency_ms_low"].to_numpy(),
        "latency_ms_high": latency["latency_ms_high"].to_numpy(),
        "accuracy_pct_predicted": predicted(X),
        "accuracy_pct": evaluated(X),
        "test_accuracy_pct": test(X),
        "macs": space.macs(X),
        "params": space.params(X),
        "peak_activation_bytes": space.peak_activation_bytes(X),
    }
    return pd.DataFrame(rows)[list(MEASURED_COLUMNS)]
