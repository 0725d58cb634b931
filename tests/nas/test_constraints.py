"""Searches that must keep within limits."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from netdyno.base.objective import Constraint, Objective
from netdyno.nas.search import search
from netdyno.nas.search.problem import make_problem, neighbours
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

Refuses = Callable[[Callable[[], object]], str]


@pytest.fixture(scope="module")
def error(space: OfaMobileNetV3) -> Objective:
    weights = np.random.default_rng(0).uniform(0, 1, int(space.cardinalities.sum()))
    return Objective("error", lambda X: 30 - space.features(X) @ weights)


def limit(space: OfaMobileNetV3, gmacs: float) -> Constraint:
    return Constraint("gmacs", lambda X: space.macs(X) / 1e9, gmacs)


def test_evolution_is_ahead_of_chance(space: OfaMobileNetV3, error: Objective) -> None:
    best = {
        method: float(search(space, [error], method, 5000, constraints=[limit(space, 0.2)]).F[0, 0])
        for method in ("ofa", "ofa2", "random")
    }
    assert max(best["ofa"], best["ofa2"]) < best["random"] - 0.5


def test_all_that_ofa_evaluates_keeps_to_the_limit(space: OfaMobileNetV3) -> None:
    largest = 0

    def evaluate(X: np.ndarray) -> np.ndarray:
        nonlocal largest
        largest = max(largest, int(space.macs(X).max()))
        return -space.macs(X).astype(float)

    search(space, [Objective("size", evaluate)], "ofa", 2000, constraints=[limit(space, 0.06)], population=40)
    assert 0.055e9 < largest <= 0.06e9


def test_what_no_architecture_keeps_to_is_told_at_once(
    space: OfaMobileNetV3, error: Objective, refuses: Refuses
) -> None:
    began = time.monotonic()
    text = refuses(lambda: search(space, [error], "ofa", constraints=[limit(space, 0.01)]))
    assert time.monotonic() < began + 5
    cheapest = space.macs(space.smallest())[0] / 1e9
    assert f"gmacs <= 0.01: the nearest has {cheapest:.5g}" in text
    both = [limit(space, 0.06), Constraint("size", lambda X: space.params(X).astype(float), 9e6, upper=False)]
    assert "size >= 9e+06" in refuses(lambda: search(space, [error], "ofa2", constraints=both))
    broken = Constraint("broken", lambda X: np.full(len(X), np.nan), 1.0)
    assert "broken" in refuses(lambda: search(space, [error], "ofa2", constraints=[broken]))


def test_a_narrow_limit_is_found(space: OfaMobileNetV3, error: Objective) -> None:
    """No random architecture of a thousand is among the few that are so large and have so few parameters."""
    sizes = space.params(space.sample(1000, 0))
    large = Constraint("params", lambda X: space.params(X).astype(float), float(sizes.max()) * 1.1, upper=False)
    found = make_problem(space, [error], [large]).feasible(0)
    assert space.params(found)[0] >= large.limit


def test_neighbours_differ_in_one_gene(space: OfaMobileNetV3) -> None:
    genes = space.sample(1, 3)[0]
    near = neighbours(space, genes[None])[0]
    assert len(near) == int((space.cardinalities - 1).sum())
    assert ((near != genes).sum(axis=1) == 1).all()
    assert len(np.unique(near, axis=0)) == len(near)
    space.check(near)
