"""Calibration finds what isolated layers get wrong, and a table says how wrong it still is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import InputError
from netdyno.nas.space import make_space
from netdyno.profiler.calibrate import calibrate_table
from netdyno.profiler.cost.additive import AdditiveCost, compile_cost
from netdyno.profiler.cost.calibrated import LEAST, CalibratedCost, Calibration, fit_calibration, quantities
from netdyno.profiler.layers import Overhead
from netdyno.profiler.plan import Networks, make_plan
from netdyno.profiler.table import LookupTable, load_table, make_rows

Refuses = Callable[[Callable[[], object]], str]
SPACE = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48, 64], classes=10)
TRUTH = {"measured": 0.9, "layers": 0.004, "weight_bytes": 3e-7, "input_bytes": 1e-7}


def isolated_ms() -> np.ndarray:
    return 0.01 + np.array([layer.macs for layer in SPACE.vocabulary()]) / 1e7


def layer_table() -> LookupTable:
    rows: dict[str, dict[str, Any]] = {Overhead().key: {"latency_ms": 0.002, "memory_bytes": 1000}}
    for layer, latency in zip(SPACE.vocabulary(), isolated_ms(), strict=True):
        rows[layer.key] = {"latency_ms": latency, "memory_bytes": 2000 + 4 * layer.params}
    return LookupTable("t", {}, make_rows("layer", rows))


@pytest.fixture(scope="module")
def isolated() -> AdditiveCost:
    return compile_cost(layer_table(), SPACE, "latency_ms")


@pytest.fixture(scope="module")
def device(isolated: AdditiveCost) -> CalibratedCost:
    """A device whose networks deviate from the sum of isolated layers exactly as calibrations say."""
    return CalibratedCost(isolated, SPACE, Calibration("latency_ms", TRUTH), error=0.01)


def test_what_the_device_does_is_found(isolated: AdditiveCost, device: CalibratedCost) -> None:
    X, unseen = SPACE.sample(20, seed=0), SPACE.sample(100, seed=1)
    found = fit_calibration(isolated, SPACE, X, device(X))
    fitted = CalibratedCost(isolated, SPACE, found, error=0.0)
    np.testing.assert_allclose(fitted(unseen), device(unseen), rtol=1e-3)
    assert np.abs(isolated(unseen) / device(unseen) - 1).mean() > 0.05, "there is something to correct"


def test_coefficients_are_never_negative(isolated: AdditiveCost) -> None:
    X = SPACE.sample(16, seed=0)
    for seed in range(10):
        y = isolated(X) * np.random.default_rng(seed).uniform(0.5, 2, len(X))
        assert min(fit_calibration(isolated, SPACE, X, y).coefficients.values()) >= 0


def test_the_sum_by_hand(isolated: AdditiveCost, device: CalibratedCost) -> None:
    X = SPACE.sample(5, seed=3)
    vocabulary = SPACE.vocabulary()
    known = zip(isolated_ms(), quantities(vocabulary, "latency_ms"), strict=True)
    by_layer = dict(zip(vocabulary, known, strict=True))
    for genes, cost in zip(X, device(X), strict=True):
        total = 0.002
        for layer in SPACE.layers(genes):
            latency, (layers, _dense, _grouped, _depthwise, weights, inputs) = by_layer[layer]
            total += 0.9 * (latency - 0.002) + 0.004 * layers + 3e-7 * weights - 1e-7 * inputs
        assert cost == pytest.approx(total)
    slots = device.layer_costs(X)
    np.testing.assert_allclose(0.002 + slots.sum(axis=1), device(X), rtol=1e-9)


def test_intervals_are_the_error_on_unseen_networks(isolated: AdditiveCost, device: CalibratedCost) -> None:
    X = SPACE.sample(5, seed=3)
    low, high = device.interval(X).T
    np.testing.assert_allclose((high - low) / 2, 1.96 * 0.01 * device(X))
    unknown = CalibratedCost(isolated, SPACE, Calibration("latency_ms", TRUTH), error=float("nan"))
    low, high = unknown.interval(X).T
    assert (low <= unknown(X)).all() and (unknown(X) <= high).all()


def test_too_few_networks(isolated: AdditiveCost, refuses: Refuses) -> None:
    X = SPACE.sample(LEAST - 1, seed=0)
    refuses(lambda: fit_calibration(isolated, SPACE, X, isolated(X)))


def table_with_networks(device: CalibratedCost, noise: float = 0.0) -> LookupTable:
    """Networks as that device would measure them; their memory is a fifth of the layers' sum and 5 MB."""
    generator = np.random.default_rng(0)
    table = layer_table()
    memory = compile_cost(table, SPACE, "memory_bytes")
    rows: dict[str, dict[str, Any]] = {}
    for group in make_plan(SPACE, Networks(between=0)):
        latencies = device(group.X) * np.exp(generator.normal(0, noise, len(group.X)))
        for name, latency, size in zip(group.names(), latencies, memory(group.X), strict=True):
            rows[name] = {"latency_ms": latency, "memory_bytes": int(0.2 * size + 5e6)}
    return replace(table, networks=make_rows("genes", rows))


def test_a_table_states_its_error(device: CalibratedCost, tmp_path: Any) -> None:
    plan = make_plan(SPACE, Networks(between=0))
    table = calibrate_table(table_with_networks(device, noise=0.01), plan)
    unseen = table.conditions["validation"]["latency_ms"]["unseen"]
    assert unseen["networks"] == 40
    assert unseen["isolated"]["mape_pct"] > 5
    assert 0.5 < unseen["calibrated"]["mape_pct"] < 1.6, "the noise is 1 %, 0.8 % on average"
    assert unseen["calibrated"]["spearman"] > 0.98
    assert table.conditions["validation"]["memory_bytes"]["unseen"]["calibrated"]["mape_pct"] < 0.5
    table.save(tmp_path / "t")
    read = load_table(tmp_path / "t")
    X = SPACE.sample(50, seed=9)
    np.testing.assert_array_equal(read.cost(SPACE)(X), table.cost(SPACE)(X))
    half = np.diff(read.cost(SPACE).interval(X)).ravel() / 2
    np.testing.assert_allclose(half, 1.96 * unseen["calibrated"]["rmspe_pct"] / 100 * read.cost(SPACE)(X))
    assert (read.layer_cost(SPACE, calibrated=False)(X) != read.cost(SPACE)(X)).all()


def test_no_fit_sees_the_networks_that_judge(device: CalibratedCost) -> None:
    plan = make_plan(SPACE, Networks(between=0))
    table = table_with_networks(device)
    spoilt = replace(table, networks=table.networks.copy())
    spoilt.networks.loc[plan[1].names(), "latency_ms"] *= 3
    honest, misled = calibrate_table(table, plan), calibrate_table(spoilt, plan)
    assert honest.conditions["calibration"] == misled.conditions["calibration"]
    assert misled.conditions["validation"]["latency_ms"]["unseen"]["calibrated"]["mape_pct"] > 60


def test_a_calibration_that_makes_it_worse_is_not_kept(device: CalibratedCost, isolated: AdditiveCost) -> None:
    """The networks to calibrate on are nonsense, the others the plain sum."""
    plan = make_plan(SPACE, Networks(between=0))
    table = table_with_networks(device)
    generator = np.random.default_rng(0)
    table.networks.loc[plan[0].names(), "latency_ms"] = generator.uniform(0.1, 5.0, len(plan[0].X))
    table.networks.loc[plan[1].names(), "latency_ms"] = isolated(plan[1].X)
    found = calibrate_table(table, plan)
    assert set(found.conditions["calibration"]) == {"memory_bytes"}
    unseen = found.conditions["validation"]["latency_ms"]["unseen"]
    assert "calibrated" not in unseen and unseen["isolated"]["mape_pct"] < 1e-9


def test_little_measured_nothing_stated(device: CalibratedCost) -> None:
    plan = make_plan(SPACE, Networks(between=0))
    table = table_with_networks(device)
    table.networks.loc[plan[0].names()[: -LEAST + 1], "valid"] = 0
    table = calibrate_table(table, plan)
    assert "calibration" not in table.conditions
    assert "calibrated" not in table.conditions["validation"]["latency_ms"]["unseen"]
    lacking = replace(layer_table(), layers=layer_table().layers.iloc[:5], networks=table.networks)
    assert not {"calibration", "validation"} & set(calibrate_table(lacking, plan).conditions)


@pytest.mark.parametrize(
    "record",
    [
        [],
        {},
        {"layers": 1.0},
        {"measured": -1.0},
        {"measured": float("nan")},
        {"measured": float("inf")},
        {"measured": 10**400},
        {"measured": True},
        {"measured": "1"},
        {"measured": 1.0, "magic": 1.0},
        {"measured": 1.0, "network": 1.0},
    ],
)
def test_what_is_no_calibration(record: Any) -> None:
    table = replace(layer_table(), conditions={"calibration": {"latency_ms": record}})
    with pytest.raises(InputError, match="not a calibration"):
        table.cost(SPACE)


def test_a_metric_that_is_not_calibrated() -> None:
    with pytest.raises(InputError, match="there is none of power_w"):
        Calibration.parse("power_w", {"measured": 1.0})


def test_energy_is_calibrated_as_latency_is() -> None:
    table = layer_table()
    table.layers["energy_mj"] = 3 * table.layers["latency_ms"]
    record = {"measured": 2.0, "layers": 0.5}
    X = SPACE.sample(5, 0)
    for metric in ("latency_ms", "energy_mj"):
        known = replace(table, conditions={"calibration": {metric: record}})
        isolated, calibrated = (known.layer_cost(SPACE, metric, calibrated=own) for own in (False, True))
        layers = (SPACE.layer_ids(X) >= 0).sum(axis=1)
        once = isolated.once
        np.testing.assert_allclose(calibrated(X), once + 2 * (isolated(X) - once) + 0.5 * layers)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["latency_ms", "unseen", "calibrated", "rmspe_pct"]), inner, max_size=3
        ),
    )
)
def test_a_hostile_validation_is_no_interval(validation: Any) -> None:
    record = {"calibration": {"latency_ms": TRUTH}, "validation": validation}
    cost = replace(layer_table(), conditions=record).cost(SPACE)
    X = SPACE.sample(2, seed=0)
    low, high = cost.interval(X).T
    assert (low <= cost(X)).all() and (cost(X) <= high).all()
