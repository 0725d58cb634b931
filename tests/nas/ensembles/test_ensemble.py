from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import UnknownName
from netdyno.nas.ensembles.ensemble import (
    SIZES,
    EnsembleLatency,
    Sizes,
    canonical,
    check,
    count,
    draw,
    sample,
)

Refuses = Callable[[Callable[[], object]], str]
seats = st.lists(st.integers(-1, 20), min_size=1, max_size=8)


@given(seats, st.randoms(use_true_random=False))
def test_canonical_ensembles_know_no_order(row: list[int], random: object) -> None:
    found = canonical(np.array([row]))
    members = sorted({seat for seat in row if seat >= 0})
    assert found[0].tolist() == members + [-1] * (len(row) - len(members))
    shuffled = row.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(canonical(np.array([shuffled])), found)
    np.testing.assert_array_equal(canonical(found), found)


@given(st.integers(2, 30), st.integers(0, 2**32))
def test_samples_are_ensembles(pool: int, seed: int) -> None:
    members = sample(50, pool, np.random.default_rng(seed))
    assert members.shape == (50, 8)
    np.testing.assert_array_equal(canonical(check(members, pool)), members)
    assert count(members).min() >= 2 and count(members).max() <= min(pool, 8)


def test_every_size_and_member_is_sampled_alike() -> None:
    members = sample(7000, 20, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(count(members), minlength=9)[2:], 1000, rtol=0.15)
    np.testing.assert_allclose(np.bincount(members[members >= 0]), 7000 * 5 / 20, rtol=0.1)


def test_a_draw_is_a_part_of_what_there_is() -> None:
    members = np.array([[5, 7, 9, -1], [1, -1, -1, -1]])
    found = draw(members, np.array([2, 3]), 4, np.random.default_rng(0))
    assert set(found[0][:2]) < {5, 7, 9} and found[0][2:].tolist() == [-1, -1]
    assert found[1].tolist() == [1, -1, -1, -1]


def test_latency_adds_up_on_one_processor_and_is_the_slowest_on_many() -> None:
    each = np.array([1.0, 2.5, 4.0])
    members = np.array([[0, 1, -1], [2, 1, 0], [1, -1, -1]])
    assert EnsembleLatency(each, "sum")(members).tolist() == [3.5, 7.5, 2.5]
    assert EnsembleLatency(each, "max")(members).tolist() == [2.5, 4.0, 2.5]
    assert EnsembleLatency(each, "sum").minimize().name == "latency_ms"


@pytest.mark.parametrize(
    "members", [[[0, 3]], [[-2, 0]], [[-1, -1]], [[0.5]], [[[0]]], [[0], [0, 1]], [["a"]], [[2**70]]]
)
def test_what_is_no_ensemble_is_refused(members: object, refuses: Refuses) -> None:
    refuses(lambda: check(members, 3))


def test_what_cannot_be_is_refused(refuses: Refuses) -> None:
    refuses(lambda: Sizes(3, 2))
    refuses(lambda: Sizes(0, 2))
    refuses(lambda: sample(3, 1, np.random.default_rng(0), SIZES))
    refuses(lambda: EnsembleLatency(np.array([1.0, 0.0]), "sum"))
    refuses(lambda: EnsembleLatency(np.array([np.nan]), "max"))
    with pytest.raises(UnknownName):
        EnsembleLatency(np.array([1.0]), "mean")  # type: ignore[arg-type]
