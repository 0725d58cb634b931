from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from netdyno.nas.pareto import crowding, distinct, dominance, hypervolume, non_dominated, ranks

# Few distinct values, so that ties are the rule.
FRONTS = st.tuples(st.integers(1, 14), st.integers(1, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(0, 4).map(float))
)


def _dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(all(a <= b) and any(a < b))


@given(FRONTS)
def test_dominance_by_brute_force(F: np.ndarray) -> None:
    found = dominance(F)
    for i, a in enumerate(F):
        for j, b in enumerate(F):
            assert found[i, j] == _dominates(a, b)


@given(FRONTS)
def test_non_dominated_rows_by_brute_force(F: np.ndarray) -> None:
    expected = [
        i
        for i, row in enumerate(F)
        if not any(_dominates(other, row) for other in F) and not any((row == other).all() for other in F[:i])
    ]
    assert non_dominated(F).tolist() == expected


@given(FRONTS)
def test_of_equal_rows_the_first(F: np.ndarray) -> None:
    rows = [tuple(row) for row in F.tolist()]
    assert distinct(F).tolist() == [i for i, row in enumerate(rows) if row not in rows[:i]]


@given(FRONTS, st.none() | st.integers(0, 20))
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
