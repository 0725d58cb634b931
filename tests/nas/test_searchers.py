"""What holds for every searcher that registers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.base.objective import Constraint, Objective
from netdyno.nas import pareto
from netdyno.nas.search import SEARCHERS, search
from netdyno.nas.search.front import Front
from netdyno.nas.space import Space
from netdyno.nas.spaces.nasbench201 import NasBench201
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

Refuses = Callable[[Callable[[], object]], str]
REFERENCE = (1.5, 30.0)

_INNER = {"inner_evaluations": 600, "predictor": "ridge", "predicted": ["error"]}
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "age-moea": (400, {"population": 40}),
    "c-taea": (400, {"population": 40}),
    "constrained-bo": (40, {"startup": 36, "candidates": 50}),
    "grid": (400, {}),
    "hyperpower": (40, {"startup": 36, "candidates": 50}),
    "linas": (60, {"population": 20, **_INNER}),
    "moead": (400, {"population": 40}),
    "motpe": (60, {"startup": 20}),
    "nsga2": (400, {"population": 40}),
    "ofa": (400, {"population": 40}),
    "ofa2": (400, {"population": 40}),
    "one-shot": (60, _INNER),
    "random": (2500, {}),
    "random-walk": (400, {}),
    "reinforce": (2000, {"rate": 0.2}),
    "rejection": (2500, {}),
    "sms-emoa": (400, {"population": 40}),
    "spea2": (400, {"population": 40}),
    "u-nsga3": (400, {"population": 40}),
}
"""Evaluations that are enough for each, and options."""
LAB = {"age-moea": "pymoo", "c-taea": "pymoo", "moead": "pymoo", "u-nsga3": "pymoo", "motpe": "optuna"}
LAB |= {"constrained-bo": "botorch", "hyperpower": "botorch"}
BASELINES = ("grid", "random", "rejection")
SINGLE = ("constrained-bo", "hyperpower", "ofa", "random-walk")
"""Searches of one objective."""
METHODS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name in LAB and find_spec(LAB[name]) is None, reason="needs the extra lab: pip install 'netdyno[lab]'"
        ),
    )
    for name in CASES
]


def run(
    method: str,
    space: Space,
    objectives: list[Objective],
    evaluations: int | None = None,
    seed: int = 0,
    **given: Any,
) -> Front:
    """A search by the case's options; one that takes a single objective has the last alone."""
    enough, options = CASES[method]
    asked = objectives[-1:] if method in SINGLE else objectives
    return search(space, asked, method, enough if evaluations is None else evaluations, seed, **given, **options)


def watched(objectives: list[Objective]) -> tuple[list[Objective], list[np.ndarray]]:
    """The same objectives, and a list of what the last of them is asked of."""
    asked: list[np.ndarray] = []

    def evaluate(X: np.ndarray) -> np.ndarray:
        asked.append(X.copy())
        values: np.ndarray = objectives[-1].evaluate(X)
        return values

    return [*objectives[:-1], Objective(objectives[-1].name, evaluate)], asked


def _error_of(space: Space) -> Objective:
    weights = np.random.default_rng(0).uniform(0, 1, int(space.cardinalities.sum()))
    return Objective("error", lambda X: 30 - space.features(X) @ weights)


def test_every_searcher_has_a_case() -> None:
    assert set(CASES) == set(SEARCHERS.names())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("evaluations", [1, 7, 40, 41])
def test_evaluations_are_spent_exactly(
    method: str, evaluations: int, space: OfaMobileNetV3, objectives: list[Objective]
) -> None:
    front = run(method, space, objectives, evaluations)
    assert front.evaluations == evaluations


@pytest.mark.parametrize("method", METHODS)
def test_no_architecture_is_evaluated_twice(method: str) -> None:
    space = NasBench201()
    noted, asked = watched([Objective("mmacs", lambda X: space.macs(X) / 1e6), _error_of(space)])
    front = run(method, space, noted)
    X = np.concatenate(asked)
    assert len(np.unique(X, axis=0)) == len(X) <= front.evaluations


@pytest.mark.parametrize("method", METHODS)
def test_what_is_returned_is_the_front_of_all_that_was_asked(
    method: str, space: OfaMobileNetV3, objectives: list[Objective]
) -> None:
    noted, asked = watched(objectives)
    front = run(method, space, noted)
    own = objectives[-1:] if method in SINGLE else objectives
    every = np.stack([each.evaluate(np.concatenate(asked)) for each in own], axis=1)
    best = every[pareto.non_dominated(every)]
    np.testing.assert_allclose(front.F, best[np.argsort(best[:, 0])])
    np.testing.assert_array_equal(space.canonical(front.X), front.X)


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides(method: str, space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    first, again, other = (run(method, space, objectives, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.X, again.X)
    np.testing.assert_array_equal(first.F, again.F)
    assert first.X.shape != other.X.shape or not np.array_equal(first.X, other.X)


@pytest.mark.parametrize("method", METHODS)
def test_it_begins_with_what_is_given(method: str, space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    given = space.canonical(space.sample(5, 11))
    noted, asked = watched(objectives)
    run(method, space, noted, 30, start=given)
    first = {genes.tobytes() for genes in np.concatenate(asked)}
    assert {genes.tobytes() for genes in given} <= first


@pytest.mark.parametrize("method", METHODS)
def test_limits_are_kept(method: str, space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    drawn = space.sample(1000, 5)
    limit = float(np.quantile(space.params(drawn), 0.2))
    front = run(method, space, objectives, constraints=[Constraint("params", lambda X: space.params(X) * 1.0, limit)])
    assert (space.params(front.X) <= limit).all()
    inside = drawn[space.params(drawn) <= limit]
    assert front.F[:, -1].min() < np.median(objectives[-1].evaluate(inside))


@pytest.mark.parametrize("method", [each for each in METHODS if each.values[0] not in {*BASELINES, *SINGLE}])
def test_it_is_ahead_of_chance(method: str, space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    evaluations = CASES[method][0]
    ahead = 0.0
    for seed in range(3):
        by_chance = search(space, objectives, "random", evaluations, seed)
        ahead += run(method, space, objectives, seed=seed).hypervolume(REFERENCE) - by_chance.hypervolume(REFERENCE)
    assert ahead > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_small_space_of_named_options(method: str) -> None:
    space = NasBench201()
    front = run(method, space, [Objective("mmacs", lambda X: space.macs(X) / 1e6), _error_of(space)])
    assert len(front) >= 1
    space.check(front.X)


MANY = [each for each in METHODS if each.values[0] not in {"linas", "one-shot", *SINGLE}]


@pytest.mark.parametrize("method", MANY)
def test_four_objectives(method: str, space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    more = [
        Objective("params", lambda X: space.params(X) / 1e6),
        Objective("peak", lambda X: space.peak_activation_bytes(X) / 1e6),
    ]
    front = run(method, space, [*objectives, *more])
    assert len(front) > 10
    assert not pareto.dominance(front.F).any()


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("age-moea", {"population": 3}),
        ("moead", {"mutation": 1.5}),
        ("motpe", {"batch": 0}),
        ("reinforce", {"rate": 0}),
        ("reinforce", {"controllers": 0}),
    ],
)
def test_settings_that_cannot_be(
    method: str, wrong: dict[str, Any], space: OfaMobileNetV3, objectives: list[Objective], refuses: Refuses
) -> None:
    refuses(lambda: search(space, objectives, method, 10, **wrong))


def test_one_objective_is_not_for_all(space: OfaMobileNetV3, objectives: list[Objective], refuses: Refuses) -> None:
    assert "a step" in refuses(lambda: search(space, objectives[:1], "random-walk", 10, step=0.0))
    for method in SINGLE:
        assert "one objective" in refuses(lambda method=method: search(space, objectives, method, 10))
    assert "take ofa for one" in refuses(lambda: search(space, objectives[:1], "moead", 10))
    assert len(search(space, objectives[:1], "reinforce", 500)) == 1


@pytest.mark.parametrize("method", METHODS)
def test_killed_at_random_and_resumed(
    method: str, space: OfaMobileNetV3, objectives: list[Objective], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    left = [0]

    def error(X: np.ndarray) -> np.ndarray:
        left[0] -= len(X)
        if left[0] < 0:
            raise Killed
        values: np.ndarray = objectives[1].evaluate(X)
        return values

    def go(allowed: int, journal: Path | None) -> Front:
        left[0] = allowed
        return run(method, space, [objectives[0], Objective("error", error)], seed=5, journal=journal)

    whole = go(10**9, None)
    generator = np.random.default_rng(7)
    for _ in range(3):
        with pytest.raises(Killed):
            go(int(generator.integers(whole.evaluations // 3)), tmp_path / "journal")
    resumed = go(10**9, tmp_path / "journal")
    np.testing.assert_array_equal(resumed.X, whole.X)
    np.testing.assert_array_equal(resumed.F, whole.F)
    assert resumed.evaluations == whole.evaluations
