from __future__ import annotations

import math
import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.profiler.statistics import Estimate, estimate, middle, relative_spread

READINGS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30).map(np.array)


@given(st.lists(st.tuples(READINGS, st.integers(1, 4)), min_size=1, max_size=12))
def test_the_interval_contains_the_median(each: list[tuple[np.ndarray, int]]) -> None:
    visits, starts = [visit for visit, _ in each], [start for _, start in each]
    found = estimate(visits, starts)
    values = np.concatenate(visits)
    assert values.min() <= found.low <= found.median <= found.high <= values.max()
    assert found.samples == len(values)
    assert estimate(visits, starts) == found


def test_the_visit_is_the_unit() -> None:
    """A long visit weighs no more than a short one, and a straggler nothing within its visit."""
    visits = [np.full(1000, 9.0), np.array([1.0]), np.array([2.0, 80.0, 2.0])]
    assert estimate(visits, [1, 1, 1]).median == 2.0
    assert estimate(visits, [1, 1, 1]).samples == 1004


def test_readings_of_a_single_visit_are_resampled() -> None:
    found = estimate([np.arange(1.0, 102.0)], [1])
    assert found.median == 51
    assert 35 < found.low < 50 and 52 < found.high < 67
    assert estimate([np.array([3.0])], [1]) == Estimate(3.0, 3.0, 3.0, 1)
    assert estimate([np.full(9, 3.0)], [1]) == Estimate(3.0, 3.0, 3.0, 9)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    found = [estimate([generator.normal(10, 1, 3) for _ in range(25)], [1] * 25) for _ in range(200)]
    hits = np.mean([one.low <= 10 <= one.high for one in found])
    assert 0.88 <= hits <= 0.995


def test_a_start_with_more_visits_counts_for_one() -> None:
    """Where starts disagree, the one that went on longer does not decide."""
    visits = [np.array([1.0])] * 6 + [np.array([1.06])] * 24
    found = estimate(visits, [1] * 3 + [2] * 3 + [3] * 24)
    assert found.median == 1.0
    assert estimate(visits[:4], [1, 1, 2, 2]).median == 1.0
    assert estimate([np.array([1.0]), np.array([3.0])], [1, 2]).median == 2.0


def test_process_starts_that_differ_widen_the_interval() -> None:
    """Rounds of one start agree with each other more than starts do."""
    generator = np.random.default_rng(0)

    def cover(starts: int) -> tuple[float, float]:
        found = []
        for _ in range(200):
            moved = np.repeat(generator.normal(10, 0.3, starts), 5)
            visits = [np.array([value]) for value in moved + generator.normal(0, 0.05, 5 * starts)]
            found.append(estimate(visits, np.repeat(np.arange(starts), 5).tolist()))
        inside = np.mean([one.low <= 10 <= one.high for one in found])
        return float(inside), float(np.median([one.high - one.low for one in found]))

    assert cover(12)[0] > 0.85
    assert cover(3)[1] > 0.3, "three starts know the middle of theirs to about the spread between them"


def test_the_quick_rule_by_hand() -> None:
    assert relative_spread([1.0, 2.0, 3.0]) == math.inf
    assert relative_spread([5.0] * 6) == 0
    # Quartiles of 1 … 9 are 3 and 7, the median is 5.
    assert relative_spread(list(map(float, range(1, 10)))) == pytest.approx(1.57 * 4 / 3 / 5)


def test_many_readings_take_bounded_memory() -> None:
    values = np.random.default_rng(0).normal(1, 0.1, 400_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = estimate([values], [1])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert found.low <= found.median <= found.high and found.high - found.low < 0.002


@pytest.mark.parametrize("count", [1, 2, 3, 4, 50, 51, 52])
def test_the_middle_is_the_median(count: int) -> None:
    values = np.random.default_rng(count).normal(1, 0.1, count)
    assert middle(values) == np.median(values)
