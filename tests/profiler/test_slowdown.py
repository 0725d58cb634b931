"""What a device that is slow for a while does to latencies is told from what candidates take, and taken off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from netdyno.profiler.journal import Visit
from netdyno.profiler.slowdown import LEAST, NEIGHBOURS, levelled, slowdowns

Floats = NDArray[np.float64]

CANDIDATES, ROUNDS, NOISE = 60, 9, 0.01


def visited(seed: int, slow_share: float, candidates: int = CANDIDATES) -> tuple[list[str], Floats, Floats, Floats]:
    """Names in the order of time, what each takes, what was read of it, and how slow the device was."""
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(candidates) for _ in range(ROUNDS)])
    truth = np.exp(generator.uniform(-4, 1, candidates))[order]
    device = np.ones(len(order))
    while (device > 1).mean() < slow_share:
        first, length = generator.integers(len(order)), generator.integers(40, 120)
        device[first : first + length] = generator.uniform(1.15, 1.4)
    read = truth * device * np.exp(generator.normal(0, NOISE, len(order)))
    return [f"layer {number}" for number in order], truth, read, device


@pytest.mark.parametrize("seed", range(5))
def test_slow_phases_are_found_and_taken_off(seed: int) -> None:
    names, truth, read, device = visited(seed, 0.35)
    found = slowdowns(names, read)
    off = found / device
    assert np.quantile(np.abs(off / np.median(off) - 1), 0.9) < 2 * NOISE, (
        "which pace is the usual one is a convention"
    )
    assert errors(names, read / found, truth) < errors(names, read, truth) / 5


def errors(names: list[str], figures: Floats, truth: Floats) -> float:
    """Root mean square error of the logarithm of each candidate's median, whatever is common to all."""
    which = np.array(names)
    off = np.array([np.median(np.log(figures / truth)[which == name]) for name in set(names)])
    return float((off - np.median(off)).std())


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_device_is_as_fast_as_usual(seed: int) -> None:
    names, _, read, _ = visited(seed, 0.0)
    found = slowdowns(names, read)
    assert np.abs(found - 1).max() < 2 * NOISE
    assert np.abs(found - 1).mean() < NOISE / 2


def test_a_candidate_s_own_scatter_stays_its_own() -> None:
    names, _, read, _ = visited(0, 0.0)
    its = np.flatnonzero(np.array(names) == names[0])
    read[its[::2]] *= 3
    assert np.abs(slowdowns(names, read)[its] - 1).max() < 2 * NOISE


@pytest.mark.parametrize("candidates", [1, 2, LEAST])
def test_few_candidates_tell_nothing(candidates: int) -> None:
    names, _, read, _ = visited(0, 0.3, candidates)
    assert (slowdowns(names, read) == 1).all()


def test_what_is_left_when_most_are_done_is_taken_as_it_is() -> None:
    names, _, read, _ = visited(0, 0.0)
    later = ["layer 0", "layer 1"] * 2 * NEIGHBOURS
    found = slowdowns([*names, *later], np.append(read, np.full(len(later), 7.0)))
    assert (found[len(names) + NEIGHBOURS :] == 1).all()


def test_nothing_was_visited() -> None:
    assert len(slowdowns([], np.empty(0))) == 0


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.integers(1, 30))
def test_units_and_names_do_not_matter(seed: int, unit: float, candidates: int) -> None:
    names, _, read, _ = visited(seed, 0.2, candidates)
    renamed = [name[::-1] for name in names]
    np.testing.assert_allclose(slowdowns(renamed, unit * read), slowdowns(names, read), rtol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1e9)), max_size=120))
def test_whatever_was_read_it_is_a_positive_number(read: list[tuple[int, float]]) -> None:
    found = slowdowns([str(number) for number, _ in read], np.array([latency for _, latency in read], np.float64))
    assert np.isfinite(found).all() and (found > 0).all()


def test_visits_stay_as_they_were_read() -> None:
    names, _, read, device = visited(0, 0.35)
    visits: dict[str, list[Visit]] = {}
    for turn, (name, latency_ms) in enumerate(zip(names, read, strict=True)):
        visit = Visit(1, turn // CANDIDATES + 1, np.array([latency_ms] * 3), "", turn)
        visits.setdefault(name, []).append(visit)
    found = levelled(dict(reversed(visits.items())))
    assert set(found) == set(visits)
    for name, own in visits.items():
        for before, after in zip(own, found[name], strict=True):
            assert (before.turn, before.round) == (after.turn, after.round)
            assert after.latency_ms is before.latency_ms
    told = {visit.turn: visit.slowdown for own in found.values() for visit in own}
    np.testing.assert_array_equal([told[turn] for turn in range(len(names))], slowdowns(names, read))
    assert np.corrcoef([told[turn] for turn in range(len(names))], device)[0, 1] > 0.9
