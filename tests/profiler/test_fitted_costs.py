"""Cost models fitted to measured networks: exact where costs add up, sane where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import netdyno as nd
from netdyno.base.errors import InputError, UnknownName
from netdyno.profiler.cost.evidence import Group, fit_groups
from netdyno.profiler.cost.fit import COST_MODELS, cross_validate, fit_cost
from netdyno.profiler.work import Work, work

QUICK, SLOW = ("additive", "few-sample", "linear", "ridge", "structural", "svr"), ("linear-svr", "stacked")
METHODS = (*QUICK, *SLOW)


def _additive(space: Any, seed: int = 0) -> np.ndarray:
    """A cost for each layer of a space, and nothing else: what a table without context would say."""
    generator = np.random.default_rng(seed)
    costs = np.array([layer.macs / 1e6 + layer.peak_activation_bytes / 1e6 for layer in space.vocabulary()])
    return np.append(costs * generator.uniform(0.5, 2.0, len(costs)), 0.0)


def test_methods_are_registered() -> None:
    assert tuple(COST_MODELS.names()) == tuple(sorted(METHODS))


@pytest.mark.parametrize(("name", "samples"), [("nasbench201", 40), ("fbnet", 200)])
def test_costs_that_add_up_are_recovered(name: str, samples: int) -> None:
    space = nd.space(name)
    costs = _additive(space)
    X = space.sample(samples, seed=1)
    y = costs[space.layer_ids(X)].sum(axis=1)
    other = space.sample(300, seed=2)
    truth = costs[space.layer_ids(other)].sum(axis=1)
    cost = fit_cost(space, X, y)
    np.testing.assert_allclose(cost(other), truth, rtol=1e-6)
    low, high = cost.interval(other).T
    assert ((low <= truth) & (truth <= high)).all()


@pytest.mark.parametrize("method", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_method_beats_the_mean(method: str, narrow: Any) -> None:
    X, other = narrow.sample(150, seed=3), narrow.sample(200, seed=4)
    y, truth = (1e5 + narrow.macs(each) / 10 + narrow.params(each) for each in (X, other))
    noise = np.random.default_rng(5).normal(1, 0.01, len(y))
    cost = fit_cost(narrow, X, y * noise, method, name="energy_mj")
    assert cost.name == "energy_mj"
    assert np.abs(cost(other) / truth - 1).mean() < 0.8 * np.abs(y.mean() / truth - 1).mean()
    assert cost.interval(other).shape == (200, 2)
    assert cost(other[:0]).shape == (0,)


def test_additive_rows_are_recovered_exactly_and_never_negative() -> None:
    space = nd.space("nasbench201")
    X, other = space.sample(200, seed=1), space.sample(300, seed=2)
    costs = _additive(space)
    y, truth = (costs[space.layer_ids(each)].sum(axis=1) for each in (X, other))
    np.testing.assert_allclose(fit_cost(space, X, y, "additive")(other), truth, rtol=1e-6)
    noisy = fit_cost(space, X, y * np.random.default_rng(0).uniform(0.2, 5, len(y)), "additive")
    assert (noisy(other) >= 0).all()


def test_errors_come_from_folds_that_the_fit_did_not_see(narrow: Any) -> None:
    X = narrow.sample(100, seed=8)
    y = 1.0 + narrow.macs(X) / 1e6
    errors = cross_validate(narrow, X, y, "structural", seed=1)
    assert errors.shape == (10,)
    np.testing.assert_array_equal(errors, cross_validate(narrow, X, y, "structural", seed=1))
    noise = np.random.default_rng(0).permutation(y)
    assert errors.mean() < 0.5 * cross_validate(narrow, X, noise, "structural").mean()
    # An expansion of 3 and one of 6 at equal steps: linear in the values, unlike an arbitrary table of options.
    linear = 5.0 + narrow.structure(X) @ np.random.default_rng(1).uniform(0, 1, narrow.structure(X).shape[1])
    assert cross_validate(narrow, X, linear, "structural").mean() < 1.0
    with pytest.raises(InputError, match="at least 10"):
        cross_validate(narrow, X[:9], y[:9], "structural")


def test_the_same_fit_twice_is_the_same(narrow: Any) -> None:
    X = narrow.sample(30, seed=6)
    y = _additive(narrow)[narrow.layer_ids(X)].sum(axis=1)
    np.testing.assert_array_equal(fit_cost(narrow, X, y)(X), fit_cost(narrow, X, y)(X))


def test_intervals_hold_what_they_say() -> None:
    space = nd.space("nasbench201")
    costs = _additive(space)
    X, other = space.sample(60, seed=7), space.sample(2000, seed=8)
    generator = np.random.default_rng(9)
    y, truth = (costs[space.layer_ids(each)].sum(axis=1) for each in (X, other))
    cost = fit_cost(space, X, y + generator.normal(0, 0.05 * y.std(), len(y)))
    low, high = cost.interval(other).T
    again = truth + generator.normal(0, 0.05 * y.std(), len(truth))
    assert 0.85 <= ((low <= again) & (again <= high)).mean() <= 0.995


def test_an_outlier_does_not_carry_the_fit_away() -> None:
    space = nd.space("nasbench201")
    costs = _additive(space)
    X, other = space.sample(30, seed=10), space.sample(300, seed=11)
    y, truth = (costs[space.layer_ids(each)].sum(axis=1) for each in (X, other))
    y = y * np.random.default_rng(12).normal(1, 0.01, len(y))
    clean = np.abs(fit_cost(space, X, y)(other) / truth - 1).mean()
    y[4] *= 6
    assert np.abs(fit_cost(space, X, y)(other) / truth - 1).mean() < 3 * clean


@pytest.mark.parametrize(
    ("y", "n"),
    [([1.0] * 3, 3), ([1.0] * 9, 10), ([1.0] * 9 + [0.0], 10), ([1.0] * 9 + [np.nan], 10), ([-1.0] * 10, 10)],
    ids=["few", "length", "zero", "nan", "negative"],
)
def test_readings_that_are_none(narrow: Any, y: list[float], n: int) -> None:
    for method in METHODS:
        with pytest.raises(InputError):
            fit_cost(narrow, narrow.sample(n, seed=0), y, method)


def test_unknown_methods_are_told(narrow: Any) -> None:
    with pytest.raises(UnknownName, match="did you mean 'few-sample'"):
        fit_cost(narrow, narrow.sample(10, 0), np.ones(10), "few-samples")


def test_equal_readings_are_a_constant(narrow: Any) -> None:
    cost = fit_cost(narrow, narrow.sample(10, 0), np.full(10, 3.0))
    np.testing.assert_allclose(cost(narrow.sample(50, 1)), 3.0, rtol=1e-3)


def test_groups_recover_a_linear_function() -> None:
    generator = np.random.default_rng(0)
    rows, other = generator.standard_normal((30, 4)), generator.standard_normal((50, 4))
    truth = np.array([1.0, -2.0, 0.5, 3.0])
    fit = fit_groups([Group(rows[:, :2]), Group(rows[:, 2:])], 7 + rows @ truth)
    np.testing.assert_allclose(fit([other[:, :2], other[:, 2:]]), 7 + other @ truth, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(fit.coefficients), truth, rtol=1e-5)


def test_work_is_counted_by_kind(narrow: Any) -> None:
    genes = narrow.largest()
    total = work(narrow.graph(genes))
    assert total.dense_macs + total.depthwise_macs + total.grouped_macs == narrow.macs(genes)[0]
    assert total.depthwise_macs > 0 and total.grouped_macs == 0
    fbnet = nd.space("fbnet")
    layer = next(layer for layer in fbnet.vocabulary() if getattr(layer, "groups", 1) == 2)
    from netdyno.profiler.lower import lower, no_weights

    counted = work(lower(layer, no_weights(layer)))
    assert counted.grouped_macs > 0 and counted.dense_macs == 0
    assert counted.grouped_macs + counted.depthwise_macs == layer.macs
    assert Work(operators=2) + Work(operators=3) == Work(operators=5)


def test_ten_networks_rank_nasbench201(refdata: Path) -> None:
    """Real devices: better than non-negative least squares on operation counts, from the same ten networks."""
    from scipy.optimize import nnls
    from scipy.stats import spearmanr

    frame = pd.read_parquet(refdata / "help" / "nasbench201_latency_ms.parquet")
    space = nd.space("nasbench201")
    X = np.stack([frame[group.name].map(group.values.index) for group in space.groups], axis=1).astype(np.int64)
    counts = np.c_[space.option_counts(X), np.ones(len(X))]
    ours, plain = [], []
    for column in ("1080ti_1", "silver_4114", "samsung_a50"):
        y = frame[column].to_numpy(float)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(len(X))
            train, rest = order[:10], order[10:]
            ours.append(spearmanr(fit_cost(space, X[train], y[train])(X[rest]), y[rest])[0])
            plain.append(spearmanr(counts[rest] @ nnls(counts[train], y[train])[0], y[rest])[0])
    assert np.mean(ours) >= np.mean(plain)
    assert np.mean(ours) >= 0.966
