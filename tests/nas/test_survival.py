"""Who survives, against the definitions done one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdyno.nas import pareto
from netdyno.nas.search.problem import Scores
from netdyno.nas.search.survival import SURVIVALS, nsga2, sms_emoa, spea2


def scores(seed: int, n: int, m: int, infeasible: float = 0.0) -> Scores:
    generator = np.random.default_rng(seed)
    bad = generator.random(n) < infeasible
    return Scores(generator.random((n, m)), np.where(bad, generator.random(n) + 0.1, 0.0))


@pytest.mark.parametrize("name", SURVIVALS)
@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), m=st.integers(2, 3), keep=st.integers(1, 40))
def test_as_many_as_are_wanted_and_the_best_first(name: str, seed: int, n: int, m: int, keep: int) -> None:
    own = scores(seed, n, m, infeasible=0.3)
    chosen, fitness = SURVIVALS[name](own, keep)
    assert len(chosen) == len(fitness) == min(n, keep) == len(set(chosen.tolist()))
    feasible = np.flatnonzero(own.violation == 0)
    front = set(feasible[pareto.non_dominated(own.F[feasible])].tolist())
    assert len(front & set(chosen.tolist())) == min(len(front), keep), "who is on the front comes first"
    left_out = set(range(n)) - set(chosen.tolist())
    if left_out & set(feasible.tolist()):
        assert (own.violation[chosen] == 0).all(), "none that violates outlives one that does not"


@pytest.mark.parametrize("seed", range(5))
def test_the_least_contributor_leaves(seed: int) -> None:
    """One front, one too many: who leaves is who adds least to the hypervolume, by measuring with and without."""
    x = np.sort(np.random.default_rng(seed).random(12))
    F = np.stack([x, (1 - x) ** 2], axis=1)
    F = (F - F.min(axis=0)) / np.ptp(F, axis=0)
    chosen, _ = sms_emoa(Scores(F, np.zeros(12)), 11)
    whole = pareto.hypervolume(F, (1.0, 1.0))
    loss = [whole - pareto.hypervolume(np.delete(F, i, axis=0), (1.0, 1.0)) for i in range(1, 11)]
    assert set(range(12)) - set(chosen.tolist()) == {1 + int(np.argmin(loss))}


def test_crowded_ones_leave() -> None:
    x = np.array([0.0, 0.25, 0.5, 0.52, 0.75, 1.0])
    chosen, _ = spea2(Scores(np.stack([x, 1 - x], axis=1), np.zeros(6)), 5)
    assert {0, 1, 4, 5} < set(chosen.tolist())


def test_of_two_close_neighbours_one_stays() -> None:
    x = np.array([0.0, 0.1, 0.5, 0.51, 0.52, 0.9, 1.0])
    chosen, _ = nsga2(Scores(np.stack([x, 1 - x], axis=1), np.zeros(len(x))), 6)
    assert sorted(chosen.tolist()) == [0, 1, 2, 4, 5, 6], "distances of all at once would be the same for both"
    chosen, _ = nsga2(Scores(np.stack([x, 1 - x], axis=1), np.zeros(len(x))), 5)
    assert len(set(chosen.tolist()) & {2, 3, 4}) == 1, "no gap is torn in the middle"


def test_strength_counts_dominators() -> None:
    F = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    chosen, fitness = spea2(Scores(F, np.zeros(3)), 3)
    np.testing.assert_array_equal(chosen, [0, 1, 2])
    np.testing.assert_array_equal(np.floor(fitness), [0, 2, 3])
