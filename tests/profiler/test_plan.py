"""Which networks a table is calibrated on and judged by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import InputError
from netdyno.nas.space import make_space
from netdyno.profiler.cost.cost import layer_counts
from netdyno.profiler.plan import BETWEEN, CALIBRATION, VALIDATION, Networks, cover, make_plan

SPACE = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48, 64], classes=10)


def test_the_sets_are_apart_and_the_same_each_time() -> None:
    first, second = make_plan(SPACE, Networks()), make_plan(SPACE, Networks())
    assert [(group.role, len(group.X)) for group in first] == [(CALIBRATION, 20), (VALIDATION, 40), (BETWEEN, 10)]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.X, other.X)
    names = [name for group in first for name in group.names()]
    assert len(set(names)) == 70
    other_seed = make_plan(SPACE, Networks(seed=1))
    assert set(other_seed[1].names()) != set(first[1].names())


def test_the_designed_set_covers_more_layers_than_chance() -> None:
    designed = make_plan(SPACE, Networks())[0]
    covered = (layer_counts(SPACE, designed.X).sum(axis=0) > 0).mean()
    at_random = [(layer_counts(SPACE, SPACE.sample(20, seed)).sum(axis=0) > 0).mean() for seed in range(10)]
    assert covered > np.mean(at_random)


def test_networks_between_sizes_are_named_by_theirs() -> None:
    between = make_plan(SPACE, Networks())[-1]
    assert all(name.endswith("@56") for name in between.names())
    one_size = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48], classes=10)
    assert [group.role for group in make_plan(one_size, Networks())] == [CALIBRATION, VALIDATION]


def test_graphs_are_those_of_the_architectures() -> None:
    group = make_plan(SPACE, Networks(2, 3, 0))[1]
    for genes, graph in zip(group.X, group.graphs(), strict=True):
        made, expected = graph(), SPACE.graph(genes)
        assert made.nodes == expected.nodes
        assert all(np.array_equal(made.weights[name], expected.weights[name]) for name in expected.weights)


def test_no_networks() -> None:
    assert make_plan(SPACE, Networks(0, 0, 0)) == []
    with pytest.raises(InputError, match="fewer"):
        Networks(calibration=-1)


def test_a_space_of_few_networks_gives_what_it_has() -> None:
    class Tiny:
        """Three architectures of one layer each."""

        name = "tiny"

        def __getattr__(self, name: str) -> object:
            return getattr(SPACE, name)

        def sample(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
            generator = np.random.default_rng(seed)
            return self._three()[generator.integers(3, size=n)]

        def smallest(self) -> np.ndarray:
            return self._three()[0]

        def largest(self) -> np.ndarray:
            return self._three()[2]

        @staticmethod
        def _three() -> np.ndarray:
            return SPACE.canonical(SPACE.sample(3, seed=0))

    calibration, validation, *_ = make_plan(Tiny(), Networks())
    assert len(calibration.X) + len(validation.X) == 3


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 12), st.integers(0, 5))
def test_a_cover_is_distinct_rows_that_explain_the_others(pool: int, width: int, n: int, seed: int) -> None:
    features = np.random.default_rng(seed).integers(0, 3, (pool, width)).astype(float)
    chosen = cover(features, n)
    assert len(set(chosen.tolist())) == len(chosen) <= min(n, pool)
    rank = np.linalg.matrix_rank(features)
    assert len(chosen) <= rank
    if n >= rank:
        assert np.linalg.matrix_rank(features[chosen]) == rank
