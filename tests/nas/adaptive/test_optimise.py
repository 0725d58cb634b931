"""Cascades that are found, on networks whose answers are made up: larger ones are right more often, and surer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netdyno.base.errors import UnknownName
from netdyno.nas.adaptive.answers import Answers, Floats
from netdyno.nas.adaptive.optimise import optimise
from netdyno.nas.adaptive.problem import CascadeProblem, Design, Goal
from netdyno.nas.space import Population, make_space

Refuses = Callable[[Callable[[], object]], str]
SPACE = make_space("cnn-caffenet", every=3)
HARD = np.random.default_rng(0).random(500)
GOALS = [Goal(error_pct=12.0), Goal(cost=3e8)]


def answer(genes: Population) -> Answers:
    """Images up to a difficulty that grows with the network's size are answered rightly, most of the time."""
    size = np.log(SPACE.macs(genes[None])[0] / 1e6) / np.log(2000)
    noise = np.random.default_rng(genes).normal(0, 0.1, len(HARD))
    ahead = 0.35 + 0.6 * size - HARD + noise
    return Answers(np.clip(0.5 + ahead, 0.0, 1.0), ahead > 0)


def costing(X: Population) -> Floats:
    return SPACE.macs(X).astype(float)


def problem(goal: Goal, networks: int = 2) -> CascadeProblem:
    return CascadeProblem(SPACE, networks, answer, costing, goal)


def found(method: str, goal: Goal, evaluations: int = 12, seed: int = 0, networks: int = 2) -> list[Design]:
    if method.startswith("bo"):
        pytest.importorskip("botorch", reason="Bayesian optimisation needs the extra lab")
    return optimise(problem(goal, networks), method, evaluations, seed)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("method", ["bo-plus", "bo", "random", "static"])
def test_what_is_found_is_what_it_says(method: str, goal: Goal) -> None:
    designs = found(method, goal, 6)
    assert len(designs) == (1 if method == "static" else 6)
    for design in designs:
        again = problem(goal).evaluate(design.X, design.thresholds)
        assert (again.error_pct, again.cost) == pytest.approx((design.error_pct, design.cost))
    broken, value = goal.split(*(np.array([getattr(d, name) for d in designs]) for name in ("error_pct", "cost")))
    ranks = list(zip(broken, value, strict=True))
    assert ranks == sorted(ranks, reverse=True), "it never falls behind what it had"


@pytest.mark.slow
@pytest.mark.parametrize(("networks", "goal"), [(2, GOALS[0]), (2, GOALS[1]), (3, GOALS[1])])
def test_with_sweeps_it_comes_near_the_grid(networks: int, goal: Goal) -> None:
    own, bare = (found(method, goal, 20, networks=networks)[-1] for method in ("bo-plus", "bo"))
    (fixed,) = found("static", goal, networks=networks)
    assert goal.best(*(np.array([getattr(d, n) for d in (own, bare, fixed)]) for n in ("error_pct", "cost"))) == 0
    if networks == 2:
        best = optimise(problem(goal), "grid", 900)[-1]
        _, values = goal.split(*(np.array([getattr(d, n) for d in (own, best)]) for n in ("error_pct", "cost")))
        assert values[0] <= 1.05 * values[1]


@pytest.mark.parametrize("networks", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_first_networks_are_little_alike(networks: int, seed: int) -> None:
    """Random ones once had all the same kernel, and what was learnt from them took until the end to be unlearnt."""
    asked: list[bytes] = []
    own = problem(GOALS[0], networks)
    own.answers = lambda X: [(asked.append(genes.tobytes()), answer(genes))[1] for genes in X]
    pytest.importorskip("botorch", reason="Bayesian optimisation needs the extra lab")
    optimise(own, "bo-plus", 1, seed)
    X = np.array([np.frombuffer(genes, np.int64) for genes in dict.fromkeys(asked)])
    spans = (X.max(axis=0) - X.min(axis=0)) / (SPACE.cardinalities - 1)
    assert len(X) == networks and spans.min() >= 0.5


@pytest.mark.slow
def test_the_seed_decides() -> None:
    first, again, other = (found("bo-plus", GOALS[0], 6, seed)[-1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.X, again.X)
    np.testing.assert_array_equal(first.thresholds, again.thresholds)
    assert not np.array_equal(first.X, other.X) or first.cost != other.cost


def test_limits_that_nothing_keeps_to() -> None:
    """What breaks the limit least is what is told, and no error is raised: the limit was a wish."""
    design = found("bo-plus", Goal(error_pct=0.0), 5)[-1]
    assert design.error_pct > 0
    assert found("random", Goal(cost=1.0), 5)[-1].cost > 1


def test_what_cannot_be(refuses: Refuses) -> None:
    assert "one limit" in refuses(Goal)
    assert "one limit" in refuses(lambda: Goal(1.0, 2.0))
    assert "2 to 4 networks" in refuses(lambda: problem(GOALS[0], 1))
    whole = CascadeProblem(make_space("cnn-caffenet"), 3, answer, costing, GOALS[0])
    assert "too large" in refuses(lambda: optimise(whole, "grid", 1))
    assert "evaluations must be" in refuses(lambda: optimise(problem(GOALS[0]), "random", 0))
    with pytest.raises(UnknownName, match="bo-plus"):
        optimise(problem(GOALS[0]), "bo-plush", 1)
