from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from netdyno.base.errors import InputError
from netdyno.nas.pareto import crowding, distinct, dominance, hypervolume, non_dominated, ranks
from netdyno.nas.search import linas, survival

# Few distinct values, so that ties are the rule.
FRONTS = st.tuples(st.integers(1, 14), st.integers(1, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(0, 4).map(float))
)


ANY = st.sampled_from([-np.inf, -1e308, -1.0, 0.0, 1.0, 1e308, np.inf, np.nan])
WILD = st.tuples(st.integers(1, 10), st.integers(1, 5)).flatmap(lambda shape: arrays(float, shape, elements=ANY))


def _dominates(a: np.ndarray, b: np.ndarray) -> bool:
    if np.isnan(a).any() or np.isnan(b).any():
        return not np.isnan(a).any() and bool(np.isnan(b).any())
    return bool(all(a <= b) and any(a < b))


@given(FRONTS | WILD)
def test_dominance_by_brute_force(F: np.ndarray) -> None:
    found = dominance(F)
    for i, a in enumerate(F):
        for j, b in enumerate(F):
            assert found[i, j] == _dominates(a, b)


@given(FRONTS | WILD)
def test_non_dominated_rows_by_brute_force(F: np.ndarray) -> None:
    expected = [
        i
        for i, row in enumerate(F)
        if not np.isnan(row).any()
        and not any(_dominates(other, row) for other in F)
        and not any((row == other).all() for other in F[:i])
    ]
    assert non_dominated(F).tolist() == expected


@given(FRONTS)
def test_of_equal_rows_the_first(F: np.ndarray) -> None:
    rows = [tuple(row) for row in F.tolist()]
    assert distinct(F).tolist() == [i for i, row in enumerate(rows) if row not in rows[:i]]


@given(FRONTS | WILD, st.none() | st.integers(0, 20))
def test_ranks_by_peeling(F: np.ndarray, enough: int | None) -> None:
    expected = np.full(len(F), -1)
    rank = 0
    while (expected < 0).any():
        if enough is not None and (expected >= 0).sum() >= enough:
            expected[expected < 0] = rank
            break
        left = np.flatnonzero(expected < 0)
        front = [i for i in left if not any(_dominates(F[j], F[i]) for j in left)]
        expected[front] = rank
        rank += 1
    assert ranks(F, enough).tolist() == expected.tolist()


@given(FRONTS)
def test_crowding_by_brute_force(F: np.ndarray) -> None:
    n, m = F.shape
    expected = np.zeros(n)
    for column in F.T:
        order = sorted(range(n), key=lambda i: column[i])
        span = column[order[-1]] - column[order[0]]
        for position, i in enumerate(order):
            if n <= 2 or position in (0, n - 1):
                expected[i] = np.inf
            elif span > 0:
                expected[i] += (column[order[position + 1]] - column[order[position - 1]]) / span / m
    np.testing.assert_allclose(crowding(F), expected)


@given(WILD)
def test_crowding_is_a_distance(F: np.ndarray) -> None:
    """Never NaN; of what is known the extremes are infinite, what is not known is nothing."""
    distance = crowding(F)
    known = ~np.isnan(F).any(axis=1)
    assert (distance >= 0).all() and (distance[~known] == 0).all()
    for column in F[known].T:
        order = np.argsort(column, kind="stable")
        assert np.isinf(distance[known][order[[0, -1]] if len(order) else order]).all()


def test_crowding_beside_an_infinite_extreme() -> None:
    F = np.array([[-np.inf, 4.0], [1, 3], [2, 2], [3, 1]])
    assert crowding(F).tolist() == [np.inf, np.inf, pytest.approx((0 + 2 / 3) / 2), np.inf]


REF = 4.0


@given(FRONTS, st.integers(0, 2**32 - 1))
def test_hypervolume_by_counting_cells(F: np.ndarray, seed: int) -> None:
    """Rows of integers below the reference point dominate whole unit cells; of the rest none counts."""
    unknown = np.random.default_rng(seed).choice([np.nan, np.inf, 9.0], F.shape[1])
    cells = np.stack(np.meshgrid(*[np.arange(REF)] * F.shape[1], indexing="ij"), axis=-1).reshape(-1, F.shape[1])
    dominated = (F[:, None] <= cells).all(axis=2).any(axis=0).sum()
    assert hypervolume(np.concatenate([F, [unknown]]), [REF] * F.shape[1]) == pytest.approx(dominated)


@pytest.mark.parametrize("objectives", range(1, 7))
def test_infinite_hypervolume_is_refused(objectives: int) -> None:
    F = np.zeros((3, objectives))
    F[1, objectives // 2] = -np.inf
    with pytest.raises(InputError, match="no hypervolume"):
        hypervolume(F, [1.0] * objectives)
    F[1, 0] = 2.0 if objectives > 1 else np.inf
    assert hypervolume(F, [1.0] * objectives) == pytest.approx(1.0)


@pytest.mark.parametrize("ref", [[np.nan, 1.0], [np.inf, 1.0], [1.0, -np.inf], [1.0], [1.0] * 3, []])
def test_a_reference_point_that_is_none(ref: list[float]) -> None:
    with pytest.raises(InputError, match="a reference point needs 2 finite numbers"):
        hypervolume(np.zeros((2, 2)), ref)


@given(arrays(float, st.tuples(st.integers(0, 6), st.just(4)), elements=ANY))
def test_any_rows_end_with_a_hypervolume(F: np.ndarray) -> None:
    with contextlib.suppress(InputError):
        assert 0 <= hypervolume(F, [2.0] * 4) < np.inf


@given(WILD)
def test_linas_ranks_what_is_not_finite(F: np.ndarray) -> None:
    if F.shape[1] > 1:
        assert linas._ranks(F).tolist() == ranks(F).tolist()


def test_an_extent_larger_than_any_float() -> None:
    F = np.array([[-1e308, 1.0, 0.0], [1e308, 0.0, 1.0]])
    assert survival._unit(F).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_nothing_is_on_an_empty_front() -> None:
    none = np.empty((0, 2))
    assert non_dominated(none).tolist() == ranks(none).tolist() == crowding(none).tolist() == []
    assert hypervolume(none, [1, 1]) == 0


@pytest.mark.parametrize(
    ("F", "ref", "volume"),
    [
        ([[1, 3], [2, 2], [3, 1]], [4, 4], 6),
        ([[1, 3], [2, 2], [3, 1], [3, 3]], [4, 4], 6),
        ([[0, 0]], [2, 3], 6),
        ([[2, 0], [0, 3]], [2, 3], 0),
        ([[5, 5], [1, 1]], [2, 2], 1),
        ([[0, 0, 0]], [1, 2, 3], 6),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [2, 2, 2], 4),
        ([[-1, -1]], [0, 0], 1),
    ],
)
def test_hypervolumes_by_hand(F: list[list[float]], ref: list[float], volume: float) -> None:
    assert hypervolume(np.array(F, float), ref) == pytest.approx(volume)


@given(arrays(float, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(0, 6).map(float)))
def test_hypervolume_by_counting_squares(F: np.ndarray) -> None:
    squares = sum(any((row <= (x, y)).all() for row in F) for x in range(5) for y in range(5))
    assert hypervolume(F, [5, 5]) == pytest.approx(squares)
