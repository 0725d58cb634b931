"""Who answers which image: one choice of thresholds after the other, against all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from netdyno.nas.adaptive.answers import Answers, read_answers, score_margins
from netdyno.nas.adaptive.cascade import CLEAR, as_arrays, clear_thresholds, decide, sweep
from netdyno.nas.adaptive.execution import Link, mean_cost

Refuses = Callable[[Callable[[], object]], str]
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Few, so that margins are alike and equal thresholds."""


@st.composite
def cascades(draw: st.DrawFn) -> tuple[list[Answers], list[np.ndarray]]:
    """Two to four networks' answers to some images, and thresholds of each but the last."""
    images, networks = draw(st.integers(1, 12)), draw(st.integers(2, 4))
    margin = arrays.arrays(float, images, elements=st.sampled_from(LEVELS))
    answers = [Answers(draw(margin), draw(arrays.arrays(bool, images))) for _ in range(networks)]
    some = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4, unique=True).map(sorted).map(np.array)
    return answers, [draw(some) for _ in range(networks - 1)]


@given(cascades())
def test_a_sweep_is_every_choice_of_thresholds(case: tuple[list[Answers], list[np.ndarray]]) -> None:
    answers, thresholds = case
    margins, right = as_arrays(answers)
    swept = sweep(answers, thresholds)
    costs = np.arange(1.0, len(answers) + 1)
    cost = mean_cost(swept.reach, costs)
    for position in product(*(range(len(own)) for own in thresholds)):
        stops = decide(margins, swept.at(position))
        wrong = ~right[stops, np.arange(len(stops))]
        assert swept.error_pct[position] == pytest.approx(100 * wrong.mean())
        reached = [(stops >= stage).mean() for stage in range(len(answers))]
        np.testing.assert_allclose(swept.reach[:, *position], reached)
        assert cost[position] == pytest.approx(sum(costs[: stop + 1].sum() for stop in stops) / len(stops))


def test_a_margin_at_the_threshold_ends_there() -> None:
    margins = np.array([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]])
    for threshold, stops in ((0.0, [0, 0, 0]), (0.5, [1, 0, 0]), (0.50001, [1, 1, 0]), (1.0, [1, 1, 0])):
        np.testing.assert_array_equal(decide(margins, np.array([threshold])), stops)


def test_margins_by_hand() -> None:
    found = score_margins(np.log([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [1 / 3, 1 / 3, 1 / 3]]))
    np.testing.assert_allclose(found, [0.5, 0.0, 0.0], atol=1e-12)


def test_one_class_and_scores_that_are_no_numbers() -> None:
    np.testing.assert_array_equal(score_margins(np.array([[3.0], [-1.0]])), [1.0, 1.0])
    np.testing.assert_array_equal(score_margins(np.array([[np.nan, 1.0], [np.inf, 0.0]])), [0.0, 0.0])
    alike = read_answers(np.array([[3.0], [-1.0]]), np.zeros(2, np.int64))
    assert alike.error_pct == 0
    swept = sweep([alike, alike], [clear_thresholds(alike.margins, 10)])
    np.testing.assert_array_equal(swept.reach[1, 0], 0)


@given(arrays.arrays(np.float32, (5, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_margins_are_differences_of_probabilities(scores: np.ndarray) -> None:
    margins = score_margins(scores)
    assert ((margins >= 0) & (margins <= 1)).all()
    np.testing.assert_allclose(score_margins(scores.astype(np.float64) + 3.0), margins, atol=1e-9)


@given(arrays.arrays(float, st.integers(0, 40), elements=st.floats(0, 1)), st.integers(1, 50))
def test_thresholds_stay_clear_of_margins(margins: np.ndarray, n: int) -> None:
    found = clear_thresholds(margins, n)
    assert 1 <= len(found) <= n or n == 1
    assert found[0] == 0 and (np.diff(found) > 0).all() and found[-1] < 1
    assert not len(margins) or (np.abs(found[1:, None] - margins) > CLEAR * 0.999).all()


def test_each_threshold_makes_another_decision() -> None:
    margins = np.random.default_rng(0).random(200)
    found = clear_thresholds(margins, 1000)
    counts = [(margins >= threshold).sum() for threshold in found]
    assert len(set(counts)) >= len(counts) - 1, "0, and what is below all margins, are the same"
    assert min(counts) == 0 and max(counts) == 200


def test_waiting_for_a_server() -> None:
    link = Link(round_trip_ms=5.0, idle_w=2.0, radio_mj=3.0)
    np.testing.assert_allclose(link.cost("latency_ms", np.array([1.0, 4.0])), [6.0, 9.0])
    np.testing.assert_allclose(link.cost("energy_mj", np.array([1.0, 4.0])), [15.0, 21.0])


def test_what_cannot_be(refuses: Refuses) -> None:
    some = Answers(np.zeros(3), np.zeros(3, bool))
    other = Answers(np.zeros(4), np.zeros(4, bool))
    assert "same images" in refuses(lambda: sweep([some, other], [np.zeros(1)]))
    assert "thresholds for each" in refuses(lambda: sweep([some, some], []))
    assert "thresholds for each" in refuses(lambda: sweep([some, some], [np.empty(0)]))
    assert "same images" in refuses(lambda: read_answers(np.zeros((3, 2)), np.zeros(4, np.int64)))
    assert "positive numbers" in refuses(lambda: Link(-1.0))
    assert "not beauty" in refuses(lambda: Link(1.0).cost("beauty", np.zeros(1)))
