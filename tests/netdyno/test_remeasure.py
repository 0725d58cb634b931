"""Networks measured for real beside some of the table's own, which tell how the device has drifted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from netdyno.devices import Settings, open_device
from netdyno.nas.space import make_space
from netdyno.profiler.measure import Method
from netdyno.profiler.plan import Networks
from netdyno.profiler.profile import profile_space
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import LookupTable

pytest.importorskip("torch", reason="subnets are PyTorch's: pip install 'netdyno[train]'")

from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.supernets.store import make_supernet
from netdyno.remeasure import Remeasured, remeasure

pytestmark = pytest.mark.alone

SPACE = make_space("ofa-mobilenetv3", width=0.25, resolutions=[32], classes=10)
NETWORKS = 12
FEW = Method(budget_s=8.0, starts=1, least_rounds=3, most_rounds=3, memory=False)


@pytest.fixture(scope="module")
def table() -> LookupTable:
    with open_device("cpu") as device:
        run = Profiling(device, Settings("onnxruntime"), FEW)
        return profile_space(SPACE, run, subject="tiny", networks=Networks(0, NETWORKS, 0))


def measure(table: LookupTable) -> Remeasured:
    data = load_data("digits", "val")
    few = replace(data, images=data.images[:20], labels=data.labels[:20])
    evaluated = EvaluatedAccuracy(make_supernet(SPACE, 0), few, few)
    half = {"predicted": lambda X: np.full(len(X), 50.0), "evaluated": evaluated, "test": evaluated}
    arguments: dict[str, Any] = half
    with open_device("cpu") as device:
        run = Profiling(device, Settings("onnxruntime"), FEW)
        return remeasure(SPACE.sample(2, 3), table=table, run=run, **arguments)


def test_drift_is_what_the_table_s_own_networks_say(table: LookupTable) -> None:
    """A table of a device that was four times as fast: its networks tell, and the prediction is not to blame."""
    columns = ["latency_ms", "latency_ms_low", "latency_ms_high"]
    faster = {"layers": table.layers.copy(), "networks": table.networks.copy()}
    for rows in faster.values():
        rows[columns] /= 4
    found = measure(replace(table, **faster))
    assert len(found.anchors) == len(found.anchor_error_pct) == NETWORKS
    assert abs(np.median(found.anchor_error_pct)) < abs(np.median(off(found)))
    assert 2 < found.drift < 8
    assert (off(found) < -50).all()
    assert (found.latency_error_pct > off(found) + 30).all()


def test_a_table_without_networks_tells_no_drift(table: LookupTable) -> None:
    found = measure(replace(table, networks=table.networks.iloc[:0]))
    assert (found.drift, len(found.anchors)) == (1.0, 0)
    np.testing.assert_allclose(found.latency_error_pct, off(found))


def off(found: Remeasured) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far predictions lie above what was measured, drift and all, in percent."""
    return 100 * (found.rows["latency_ms_predicted"] / found.rows["latency_ms"] - 1).to_numpy()
