from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from netdyno.base.objective import Objective
from netdyno.nas import pareto
from netdyno.nas.ensembles.ensemble import SIZES, EnsembleLatency, Sizes, canonical, check, count, sample
from netdyno.nas.ensembles.evolve import cross, evolve_ensembles, front_of, mutate, vary
from netdyno.nas.ensembles.manual import manual_ensembles
from netdyno.nas.ensembles.predictions import Predictions
from netdyno.nas.ensembles.vote import VotedAccuracy

Refuses = Callable[[Callable[[], object]], str]
LATENCY = np.linspace(1, 3, 20)


@pytest.fixture(scope="module")
def predictions(make_pool: Callable[..., tuple[Predictions, NDArray[np.float64]]]) -> Predictions:
    return make_pool()[0]


@pytest.fixture(scope="module")
def objectives(predictions: Predictions) -> list[Objective]:
    return [EnsembleLatency(LATENCY, "sum").minimize(), VotedAccuracy(predictions, "soft").maximize()]


# Operators --------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.integers(2, 15), st.integers(0, 2**32))
def test_children_are_ensembles(pool: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    parents = sample(10, pool, generator)
    for children in (
        cross(parents, parents[::-1], SIZES, generator),
        mutate(parents, pool, SIZES, generator),
        vary(parents, np.arange(10.0), 10, pool, 0.5, SIZES, generator),
    ):
        np.testing.assert_array_equal(canonical(check(children, pool)), children)
        assert children.shape == (10, 8) and count(children).min() >= 2


def test_children_have_their_parents_members_in_any_number() -> None:
    generator = np.random.default_rng(0)
    mothers, fathers = (np.tile([*row, *[-1] * 4], (400, 1)) for row in ([0, 1, 2, 3], [2, 3, 4, 5]))
    children = cross(mothers, fathers, SIZES, generator)
    assert children.max() == 5
    assert set(count(children).tolist()) == {2, 3, 4, 5, 6}


def test_a_mutation_adds_drops_or_swaps_one() -> None:
    generator = np.random.default_rng(0)
    parents = sample(500, 12, generator)
    children = mutate(parents, 12, SIZES, generator)
    for parent, child in zip(parents, children, strict=True):
        before, after = set(parent[parent >= 0].tolist()), set(child[child >= 0].tolist())
        assert (len(before - after), len(after - before)) in {(0, 1), (1, 0), (1, 1)}
    assert set((count(children) - count(parents)).tolist()) == {-1, 0, 1}


def test_a_pool_without_newcomers_leaves_ensembles_as_they_are() -> None:
    pair = np.array([[0, 1, -1, -1, -1, -1, -1, -1]] * 20)
    np.testing.assert_array_equal(mutate(pair, 2, SIZES, np.random.default_rng(0)), pair)


# Evolution --------------------------------------------------------------------------------------------------------


def test_evolution_finds_the_front_of_all_ensembles_of_a_small_pool(
    make_pool: Callable[..., tuple[Predictions, NDArray[np.float64]]],
) -> None:
    predictions, _ = make_pool(n=9)
    objectives = [EnsembleLatency(LATENCY[:9], "sum").minimize(), VotedAccuracy(predictions, "hard").maximize()]
    every = np.array([[*c, *[-1] * (3 - len(c))] for n in (2, 3) for c in combinations(range(9), n)])
    best = front_of(every, objectives)
    found = evolve_ensembles(9, objectives, 1500, seed=0, population=30, sizes=Sizes(2, 3))
    np.testing.assert_allclose(found.F, best.F)


def test_the_same_seed_finds_the_same(objectives: list[Objective]) -> None:
    first, second, other = (evolve_ensembles(20, objectives, 500, seed=s, population=30) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.members, second.members)
    np.testing.assert_array_equal(first.F, second.F)
    assert not np.array_equal(first.F, other.F)


def test_a_front_keeps_to_its_budget_and_says_what_it_found(objectives: list[Objective], refuses: Refuses) -> None:
    asked = []
    counting = [Objective("latency_ms", lambda X: asked.append(len(X)) or objectives[0].evaluate(X)), objectives[1]]
    front = evolve_ensembles(20, counting, 333, seed=0, population=50)
    assert sum(asked) == front.evaluations == 333
    assert front.objectives == ("latency_ms", "error_pct")
    for column, objective in zip(front.F.T, objectives, strict=True):
        np.testing.assert_array_equal(objective.evaluate(front.members), column)
    assert len(pareto.non_dominated(front.F)) == len(front)
    assert (np.diff(front.F[:, 0]) > 0).all()
    assert front.hypervolume((100.0, 100.0)) == pareto.hypervolume(front.F, (100.0, 100.0))
    refuses(lambda: front.hypervolume((1.0,)))


def test_evolution_beats_manual_sampling_and_its_own_beginning(
    predictions: Predictions, objectives: list[Objective]
) -> None:
    alone = np.stack([LATENCY, 100 - predictions.accuracy_pct], axis=1)
    manual = manual_ensembles(alone)
    picked = front_of(manual, objectives)
    ref = (24.0, 100.0)
    cold = evolve_ensembles(20, objectives, 2000, seed=0, population=50)
    assert cold.hypervolume(ref) > picked.hypervolume(ref)
    warm = evolve_ensembles(20, objectives, 43, seed=0, start=manual)
    np.testing.assert_array_equal(warm.F, picked.F)
    warm = evolve_ensembles(20, objectives, 200, seed=0, start=manual[:, ::-1], population=50)
    assert warm.hypervolume(ref) >= picked.hypervolume(ref)


def test_what_cannot_be_evolved_is_refused(objectives: list[Objective], refuses: Refuses) -> None:
    refuses(lambda: evolve_ensembles(20, []))
    refuses(lambda: evolve_ensembles(20, objectives, 0))
    refuses(lambda: evolve_ensembles(20, objectives, mutation=1.5))
    refuses(lambda: evolve_ensembles(20, objectives, population=1))
    refuses(lambda: evolve_ensembles(1, objectives))
    refuses(lambda: evolve_ensembles(20, objectives, start=np.array([[0, 20]])))
    refuses(lambda: evolve_ensembles(20, objectives, start=np.array([[3, 3]])))
    refuses(lambda: evolve_ensembles(20, objectives, start=np.arange(9)[None]))
    refuses(lambda: evolve_ensembles(20, [Objective("x", lambda X: np.full(len(X), np.nan))], 10))
