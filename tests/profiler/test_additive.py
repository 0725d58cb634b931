from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from netdyno.base.errors import TableInvalid
from netdyno.profiler.cost.additive import AdditiveCost
from netdyno.profiler.layers import Conv, GlobalPool, Layer, Linear, Overhead
from netdyno.profiler.table import LookupTable, make_rows

Refuses = Callable[[Callable[[], object]], str]

SMALL = Conv(4, 4, 1, 2, kernel=1, stride=1, norm=1, act="none")
LARGE = Conv(8, 8, 1, 2, kernel=1, stride=2, norm=1, act="none")
POOL = GlobalPool(4, 4, 2)
HEAD = Linear(2, 3)
LAYERS = [SMALL, LARGE, POOL, HEAD]


class Chains:
    """Networks whose genes are their layers' positions; −1 leaves a slot empty."""

    name = "chains"

    def vocabulary(self) -> Sequence[Layer]:
        return LAYERS

    def layer_ids(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(X)

    def sample(self, n: int, seed: int) -> np.ndarray:
        return X


X = np.array([[0, 2, 3], [1, -1, 3], [1, 2, 3]])
COSTS = {SMALL.key: 1.0, LARGE.key: 2.0, POOL.key: 0.5, HEAD.key: 0.25}


def _cost(rows: dict[str, Any], metric: str = "latency_ms", **conditions: Any) -> AdditiveCost:
    filled = {key: row if isinstance(row, dict) else {metric: row} for key, row in rows.items()}
    return LookupTable("twin", conditions, make_rows("layer", filled)).cost(Chains(), metric)


def test_without_an_overhead_costs_add_up() -> None:
    cost = _cost(COSTS)
    np.testing.assert_allclose(cost(X), [1.75, 2.25, 2.75])
    np.testing.assert_allclose(cost.layer_costs(X), [[1, 0.5, 0.25], [2, 0, 0.25], [2, 0.5, 0.25]])
    assert cost.name == "latency_ms"


def test_the_overhead_counts_once() -> None:
    """Each row was measured with a call of its own, of which a network has one; no layer takes less than nothing."""
    cost = _cost(COSTS | {Overhead().key: 0.3})
    np.testing.assert_allclose(cost(X), [0.3 + 0.7 + 0.2, 0.3 + 1.7, 0.3 + 1.7 + 0.2])
    np.testing.assert_allclose(cost.layer_costs(X)[0], [0.7, 0.2, 0.0])


def test_rows_of_the_networks_size_win() -> None:
    cost = _cost(COSTS | {f"{HEAD.key}@8": 10.0})
    np.testing.assert_allclose(cost(X), [1.75, 12.0, 12.5])


def test_each_size_has_its_own_rows() -> None:
    cost = _cost(COSTS | {f"{HEAD.key}@8": 10.0, f"{HEAD.key}@4": 20.0})
    np.testing.assert_allclose(cost(X), [21.5, 12.0, 12.5])


def test_a_row_for_one_size_says_nothing_of_another(refuses: Refuses) -> None:
    cost = _cost({key: value for key, value in COSTS.items() if key != HEAD.key} | {f"{HEAD.key}@8": 10.0})
    np.testing.assert_allclose(cost(X[1:]), [12.0, 12.5])
    assert HEAD.key in refuses(lambda: cost(X))


def test_a_row_for_a_place_counts_there_and_a_plain_one_elsewhere() -> None:
    cost = _cost({SMALL.key: 1.0, LARGE.key: 2.0, HEAD.key: 0.25, f"{LARGE.key}#0": 5.0, f"{POOL.key}#1": 0.5})
    np.testing.assert_allclose(cost(X), [1.75, 5.25, 5.75])


def test_a_row_for_one_place_says_nothing_of_another(refuses: Refuses) -> None:
    cost = _cost(COSTS | {f"{POOL.key}#1": 0.75})
    np.testing.assert_allclose(cost(np.array([[0, 2, 2]])), [1.0 + 0.75 + 0.5])
    rows = {SMALL.key: 1.0, LARGE.key: 2.0, HEAD.key: 0.25, f"{POOL.key}#1": 0.5}
    assert "at place 2" in refuses(lambda: _cost(rows)(np.array([[0, 2, 2]])))


def test_sizes_and_places_are_not_told_apart_together(refuses: Refuses) -> None:
    refuses(lambda: _cost(COSTS | {f"{HEAD.key}@8": 10.0, f"{HEAD.key}#2": 20.0}))


def test_what_an_empty_place_costs_is_no_call_of_its_own() -> None:
    cost = _cost(COSTS | {"skip": 0.1, Overhead().key: 0.3})
    np.testing.assert_allclose(cost(X), [0.3 + 0.7 + 0.2, 0.3 + 1.7 + 0.1, 0.3 + 1.7 + 0.2])


def test_a_constant_stands_for_what_every_network_has(refuses: Refuses) -> None:
    rows = {key: value for key, value in COSTS.items() if key != HEAD.key}
    cost = _cost(rows, constant_ms=7.0)
    np.testing.assert_allclose(cost(X), [8.5, 9.0, 9.5])
    assert cost.once == 7.0
    refuses(lambda: _cost({key: value for key, value in rows.items() if key != POOL.key}, constant_ms=7.0))


@pytest.mark.parametrize("constant", [-1.0, float("inf"), float("nan"), "7", True, None, [1.0]])
def test_a_constant_that_is_none(constant: Any, refuses: Refuses) -> None:
    assert "constant_ms" in refuses(lambda: _cost(COSTS, constant_ms=constant))


def test_a_missing_layer_is_named(refuses: Refuses) -> None:
    message = refuses(lambda: _cost({key: value for key, value in COSTS.items() if key != POOL.key}))
    assert "lacks 1 of the 4 layers of chains" in message and POOL.key in message
    refuses(lambda: _cost(COSTS | {POOL.key: {"latency_ms": 1.0, "valid": 0}}))


def test_metrics_that_are_not_there(refuses: Refuses) -> None:
    refuses(lambda: _cost(COSTS).name and LookupTable("x", {}, make_rows("layer", {})).cost(Chains()))
    refuses(lambda: LookupTable("x", {}, make_rows("layer", {})).cost(Chains(), "beauty"))
    rows = {key: {"latency_ms": 1.0} for key in COSTS}
    assert "energy_mj" in refuses(lambda: _cost(rows, "energy_mj"))


@pytest.mark.parametrize("number", [-0.1, float("inf")])
def test_what_is_no_cost_is_never_added_up(number: float) -> None:
    with pytest.raises(TableInvalid, match="is no cost") as caught:
        _cost(COSTS | {POOL.key: number})
    assert caught.value.layer == POOL.key


def test_rows_of_other_spaces_do_no_harm() -> None:
    np.testing.assert_allclose(_cost(COSTS | {Linear(7, 7).key: 99.0})(X), [1.75, 2.25, 2.75])


def test_intervals_add_up_as_independent_errors() -> None:
    rows: dict[str, Any] = {
        key: {"latency_ms": value, "latency_ms_low": value - 0.03, "latency_ms_high": value + 0.04}
        for key, value in COSTS.items()
    }
    rows[POOL.key] = {"latency_ms": 0.5}
    interval = _cost(rows).interval(X)
    np.testing.assert_allclose(interval[0], [1.75 - 0.03 * 2**0.5, 1.75 + 0.04 * 2**0.5])
    np.testing.assert_allclose(_cost(COSTS).interval(X), np.stack([_cost(COSTS)(X)] * 2, axis=1))


def test_energy_adds_up_like_latency() -> None:
    np.testing.assert_allclose(_cost(COSTS, "energy_mj")(X), [1.75, 2.25, 2.75])


def test_of_memory_the_kept_adds_up_and_the_largest_peak_counts() -> None:
    """A row is overhead + kept + peak; a network is overhead + all that is kept + its largest peak."""
    overhead, kept = 1000, {SMALL: 100, LARGE: 200, POOL: 0, HEAD: 400}
    rows: dict[str, Any] = {layer.key: overhead + kept[layer] + layer.peak_activation_bytes for layer in LAYERS}
    cost = _cost(rows | {Overhead().key: overhead}, "memory_bytes")
    peaks = {SMALL: 4 * 48, LARGE: 4 * (64 + 32), POOL: 4 * 34, HEAD: 4 * 5}
    assert all(layer.peak_activation_bytes == peak for layer, peak in peaks.items())
    np.testing.assert_allclose(cost(X), [1000 + 500 + 192, 1000 + 600 + 384, 1000 + 600 + 384])
    np.testing.assert_allclose(cost.interval(X), np.stack([cost(X)] * 2, axis=1))


def test_a_population_of_none() -> None:
    assert _cost(COSTS)(X[:0]).shape == (0,)


def test_maximising_a_cost_negates_it() -> None:
    objective = _cost(COSTS).minimize()
    np.testing.assert_allclose(objective.evaluate(X), [1.75, 2.25, 2.75])
    assert objective.name == "latency_ms"


def test_a_row_used_twice_errs_twice_the_same_way() -> None:
    """Two uses of a row with error e err by 2 e, not by √2 e."""
    exact = {key: {"latency_ms": c, "latency_ms_low": c, "latency_ms_high": c} for key, c in COSTS.items()}
    exact[POOL.key] |= {"latency_ms_low": 0.4, "latency_ms_high": 0.7}
    repeats = np.array([[0, 2, 3], [0, 2, 2], [2, 2, 2]])
    cost = _cost(exact)
    uses = np.array([1, 2, 3])
    np.testing.assert_allclose(cost(repeats) - cost.interval(repeats)[:, 0], 0.1 * uses)
    np.testing.assert_allclose(cost.interval(repeats)[:, 1] - cost(repeats), 0.2 * uses)
