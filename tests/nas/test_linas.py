from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from netdyno.base.errors import UnknownName
from netdyno.base.objective import Constraint, Objective
from netdyno.nas.regression import METHODS as PREDICTORS
from netdyno.nas.regression import fit_regression
from netdyno.nas.search import search
from netdyno.nas.search.linas import _choose
from netdyno.nas.search.problem import Scores
from netdyno.nas.space import Space
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

Refuses = Callable[[Callable[[], object]], str]
REFERENCE = (1.5, 30.0)
QUICK: dict[str, Any] = {"inner_evaluations": 600, "predictor": "ridge", "predicted": ["error"]}


def _watched(objectives: list[Objective]) -> tuple[list[Objective], list[np.ndarray]]:
    """The same objectives; what the error is asked of."""
    asked: list[np.ndarray] = []

    def error(X: np.ndarray) -> np.ndarray:
        asked.append(X.copy())
        values: np.ndarray = objectives[1].evaluate(X)
        return values

    return [objectives[0], Objective("error", error)], asked


@pytest.mark.parametrize("method", ["linas", "one-shot"])
@pytest.mark.parametrize(("evaluations", "batch"), [(1, 1), (7, 3), (50, 50), (61, 7), (120, 1)])
def test_no_network_is_measured_twice(
    method: str, evaluations: int, batch: int, space: OfaMobileNetV3, objectives: list[Objective]
) -> None:
    watched, asked = _watched(objectives)
    front = search(space, watched, method, evaluations, seed=0, batch=batch, **QUICK)
    X = np.concatenate(asked)
    assert len(X) == front.evaluations == evaluations
    assert len(np.unique(space.canonical(X), axis=0)) == evaluations
    assert max(map(len, asked)) <= batch


def test_linas_needs_a_fraction_of_what_others_need(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    options = {"inner_evaluations": 5000, "predicted": ["error"]}
    linas, once = (
        search(space, objectives, method, 100, seed=1, **options).hypervolume(REFERENCE)
        for method in ("linas", "one-shot")
    )
    others = [search(space, objectives, method, 500, seed=1).hypervolume(REFERENCE) for method in ("nsga2", "random")]
    assert min(linas, once) > 1.02 * max(others)


@pytest.mark.parametrize("algorithm", ["nsga2", "sms-emoa", "spea2", "random"])
def test_any_algorithm_searches_the_predictors(
    algorithm: str, space: OfaMobileNetV3, objectives: list[Objective]
) -> None:
    front = search(space, objectives, "linas", 40, seed=1, population=20, algorithm=algorithm, **QUICK)
    assert front.evaluations == 40
    assert front.growth[:, 0].max() > 20


def test_all_objectives_are_predicted_unless_told(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    asked: list[int] = []

    def macs(X: np.ndarray) -> np.ndarray:
        asked.append(len(X))
        values: np.ndarray = objectives[0].evaluate(X)
        return values

    counted = [Objective("gmacs", macs), objectives[1]]
    search(space, counted, "linas", 40, population=20, inner_evaluations=300, predictor="ridge")
    assert sum(asked) == 40
    search(space, counted, "linas", 40, population=20, inner_evaluations=300, predictor="ridge", predicted="error")
    assert 40 + 40 + 200 < sum(asked) <= 40 + 40 + 300, "the inner search asks, nothing twice"


def test_one_and_three_objectives_and_a_limit(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    best = search(space, objectives[1:], "linas", 60, population=20, **QUICK)
    assert len(best) == 1
    assert best.F[0, 0] < search(space, objectives[1:], "random", 1000).F[0, 0]
    params = Objective("params", lambda X: space.params(X) / 1e6)
    limit = Constraint("params", params.evaluate, 5.0)
    front = search(space, [*objectives, params], "linas", 60, population=20, constraints=[limit], **QUICK)
    assert len(front) and (front.F[:, 2] <= 5).all()


def test_a_space_that_is_exhausted_ends_the_search(tiny: Space) -> None:
    error = Objective("error", lambda X: -X.sum(axis=1).astype(float))
    size = Objective("macs", lambda X: tiny.macs(X).astype(float))
    for method in ("linas", "one-shot"):
        front = search(tiny, [error, size], method, 10**6, inner_evaluations=300, predictor="ridge")
        assert front.evaluations == len(np.unique(tiny.canonical(tiny.sample(3000, 0)), axis=0))


@pytest.fixture
def tiny(narrow: OfaMobileNetV3) -> Space:
    """A space of which all but the last genes are for nothing."""

    class Tiny(OfaMobileNetV3):
        def active(self, X: np.ndarray) -> np.ndarray:
            active = np.zeros(np.atleast_2d(X).shape, np.bool_)
            active[:, -4:] = True
            return active

        def canonical(self, X: np.ndarray) -> np.ndarray:
            return np.where(self.active(X), X, 0)

    return Tiny(width=0.25, resolutions=[48, 56, 64], classes=10)


def test_what_linas_cannot_do(space: OfaMobileNetV3, objectives: list[Objective], refuses: Refuses) -> None:
    wrong: list[dict[str, Any]] = [{"batch": 0}, {"inner_evaluations": 0}, {"predicted": ["beauty"]}]
    for method in ("linas", "one-shot"):
        for each in wrong:
            refuses(partial(search, space, objectives, method, 9, **each))
        for name in ("algorithm", "predictor"):
            with pytest.raises(UnknownName):
                search(space, objectives, method, 9, **{name: "ridges"})
    assert "at least 10" in refuses(lambda: search(space, objectives, "linas", 9, population=9))
    assert "at least 10" in refuses(lambda: search(space, objectives, "one-shot", 9, training=9))


def test_time_is_told_apart(
    space: OfaMobileNetV3, objectives: list[Objective], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "netdyno"):
        search(space, objectives, "linas", 45, population=20, **QUICK)
    assert "measured 45 in" in caplog.text and "fitted and searched in" in caplog.text
    assert "error: ridge" in caplog.text


def test_of_many_the_front_is_measured_spread_out() -> None:
    x = np.concatenate([np.linspace(0, 0.1, 90), [0.5, 1.0]])
    front = np.stack([x, 1 - x], axis=1)
    F = np.concatenate([front + 1, front])
    chosen = _choose(Scores(F, np.zeros(len(F))), 3)
    assert set(chosen) == {92, 92 + 90, 92 + 91}
    assert len(_choose(Scores(F, np.zeros(len(F))), 500)) == len(F)
    violation = np.concatenate([np.zeros(92), np.ones(92)])
    assert _choose(Scores(F, violation), 100).max() < 92
    single = Scores(F[:, :1], violation)
    assert _choose(single, 3).tolist() == [0, 1, 2]
    assert len(_choose(single[:0], 3)) == 0


# Predictors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", PREDICTORS)
def test_a_regression_learns_what_adds_up(method: str, narrow: OfaMobileNetV3) -> None:
    X = narrow.sample(500, seed=0)
    generator = np.random.default_rng(1)
    weights = generator.normal(0, 0.3, narrow.features(X).shape[1])
    y = narrow.features(X) @ weights + generator.normal(0, 0.1, len(X))
    fitted = fit_regression(narrow, X[:300], y[:300], method)
    error = np.abs(fitted(X[300:]) - y[300:]).mean()
    assert error < 0.5 * np.abs(y[300:] - y.mean()).mean()
    assert fitted.cv_mae == pytest.approx(error, rel=0.4)
    if method in ("ridge", "linear-svr", "svr"):
        assert fitted.method.startswith(f"{method} ")
    np.testing.assert_array_equal(fitted(narrow.canonical(X)), fitted(X))


@pytest.mark.parametrize("value", [0.0, -3.0, 70.0])
def test_what_is_always_the_same_is_predicted_so(value: float, space: OfaMobileNetV3) -> None:
    X = space.sample(30, seed=0)
    for method in PREDICTORS:
        np.testing.assert_allclose(fit_regression(space, X, np.full(30, value), method)(X), value, atol=1e-9)
