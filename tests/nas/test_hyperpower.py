"""Acquisitions against what they stand for, and Bayesian optimisation that trains nothing that breaks a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from netdyno.base.objective import Constraint, Objective, Optimisable
from netdyno.nas.search import search
from netdyno.nas.search.bayes.acquisition import admit, log_expected_improvement, log_probability_below
from netdyno.nas.search.bayes.points import in_cube, informed, size
from netdyno.nas.search.bayes.suggest import apart_about_the_middle, suggest
from netdyno.nas.space import Population, make_space
from netdyno.targets import Count

Refuses = Callable[[Callable[[], object]], str]
Floats = NDArray[np.float64]
SPACE = make_space("cnn-cifar10")
NORMAL = np.random.default_rng(0).standard_normal(4_000_000)
needs_botorch = pytest.mark.usefixtures("botorch")


@pytest.fixture
def botorch() -> None:
    pytest.importorskip("botorch", reason="Bayesian optimisation needs the extra lab")


def error(X: Population) -> Floats:
    """Smaller for larger networks and a middling recipe, and as bad as a guess where training diverges."""
    rate, momentum, decay = (X[:, i] / (SPACE.cardinalities[i] - 1) for i in (-3, -2, -1))
    size = np.log(SPACE.macs(X) / 1e5)
    found = 60 * np.exp(-0.3 * size) + 20 * (rate - 0.6) ** 2 + 4 * (decay - 0.4) ** 2
    return np.where(rate + 0.7 * momentum > 1.5, 90.0, found)


class Guess(Optimisable):
    """Multiply-accumulates as a model has them, at most ``off`` of them wrong, which its interval knows."""

    name = "macs"

    def __init__(self, off: float) -> None:
        self.off = off

    def __call__(self, X: Population) -> Floats:
        wrong = np.random.default_rng(0).uniform(-1, 1, (len(self.weights), 1))
        return SPACE.macs(X) * (1 + self.off * np.sin(X @ wrong)[:, 0])

    weights = SPACE.cardinalities

    def interval(self, X: Population) -> Floats:
        return np.stack([self(X) / (1 + self.off), self(X) / (1 - self.off)], axis=1)


@pytest.mark.parametrize(
    ("mean", "spread", "best"), [(0.0, 1.0, 0.0), (2.0, 1.5, 1.0), (-1.0, 0.5, 1.0), (5.0, 4.0, 3.0)]
)
def test_expected_improvement_is_that_of_draws(mean: float, spread: float, best: float) -> None:
    drawn = np.maximum(best - (mean + spread * NORMAL), 0).mean()
    found = np.exp(log_expected_improvement(np.array([mean]), np.array([spread]), best))[0]
    assert found == pytest.approx(drawn, rel=3e-3, abs=1e-3)


@pytest.mark.parametrize(("limit", "best"), [(0.0, 0.5), (1.0, -0.5)])
def test_with_constraints_it_is_that_of_draws(limit: float, best: float) -> None:
    error, cost = 0.2 + NORMAL[: len(NORMAL) // 2], 0.5 + 0.8 * NORMAL[len(NORMAL) // 2 :]
    drawn = (np.maximum(best - error, 0) * (cost <= limit)).mean()
    one = np.ones(1)
    found = log_expected_improvement(0.2 * one, one, best) + log_probability_below(0.5 * one, 0.8 * one, limit)
    assert np.exp(found[0]) == pytest.approx(drawn, abs=1e-3)
    known = np.exp(admit(log_expected_improvement(0.2 * np.ones(2), np.ones(2), best), np.array([0.0, 0.1])))
    assert known[0] == pytest.approx(np.maximum(best - error, 0).mean(), abs=1e-3) and known[1] == 0


@given(st.floats(-1e8, 1e8), st.floats(1e-9, 1e6), st.floats(-1e8, 1e8))
def test_logarithms_hold_however_far(mean: float, spread: float, best: float) -> None:
    means = np.array([mean, mean + spread / 10])
    found = log_expected_improvement(means, np.full(2, spread), best)
    assert np.isfinite(found).all() and found[0] >= found[1], "the smaller the error, the better"
    kept = log_probability_below(means, np.full(2, spread), best)
    assert np.isfinite(kept).all() and 0 >= kept[0] >= kept[1]


@pytest.mark.parametrize("z", [-0.999, -1.001, -5.0, -40.0, -9_999.0, -10_001.0, -1e6, -1e9])
def test_logarithms_are_those_of_many_digits(z: float) -> None:
    mpmath = pytest.importorskip("mpmath", reason="comes with torch, by sympy")
    mpmath.mp.dps = 60
    exact = (
        mpmath.log(mpmath.npdf(z) + z * mpmath.ncdf(z))
        if z > -1e3
        else -(mpmath.mpf(z) ** 2) / 2 - mpmath.log(mpmath.sqrt(2 * mpmath.pi)) - 2 * mpmath.log(-z)
    )
    found = log_expected_improvement(np.array([-z]), np.ones(1), 0.0)[0]
    assert found == pytest.approx(float(exact), rel=1e-9)


def test_of_what_is_certain_there_is_no_more_than_that() -> None:
    found = log_expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0)
    assert found[0] == 0 and found[1] < -1e9
    np.testing.assert_array_equal(log_probability_below(np.array([1.0, 3.0]), np.zeros(2), 2.0) > -1e9, [True, False])


def test_where_nothing_is_feasible_the_nearest_is_ahead() -> None:
    found = admit(np.array([5.0, 0.0, -5.0]), np.array([3.0, 2.0, 1.0]))
    assert found.argmax() == 2 and np.isfinite(found).all()
    assert admit(np.array([5.0, -1e12]), np.array([1e-9, 0.0])).argmax() == 1

    def promise(X: Population) -> Floats:
        return admit(np.zeros(len(X)), SPACE.macs(X) / 1.0)

    one = suggest(SPACE, promise, SPACE.sample(0, 0), SPACE.largest()[None], 10, np.random.default_rng(0))
    assert SPACE.macs(one)[0] == SPACE.macs(SPACE.smallest()[None])[0], "down to the smallest there is"


def test_a_step_of_rate_and_momentum_is_a_coordinate_of_its_own() -> None:
    X = SPACE.sample(200, 0)
    X[0, -3:-1], X[1, -3:-1] = 0, SPACE.cardinalities[-3:-1] - 1
    points = informed(SPACE, X)
    np.testing.assert_array_equal(points[:, :-2], in_cube(SPACE, X))
    assert (
        points[0, -1] == 0
        and points[1, -1] == pytest.approx(1)
        and (points[:, -1] >= 0).all()
        and (points[:, -1] <= 1).all()
    )
    recipes = [SPACE.recipe(genes) for genes in X]
    steps = [recipe["learning_rate"] / (1 - recipe["momentum"]) for recipe in recipes]
    np.testing.assert_array_equal(np.argsort(points[:, -1], kind="stable"), np.argsort(steps, kind="stable"))
    other = make_space("fbnet")
    np.testing.assert_array_equal(informed(other, other.sample(3, 0)), in_cube(other, other.sample(3, 0)))


def test_what_all_sizes_have_in_common_is_a_coordinate_of_its_own() -> None:
    X = np.stack([SPACE.smallest(), SPACE.largest(), *SPACE.sample(200, 0)])
    own = size(SPACE, X)
    assert own[0] == own.min() and own[1] == own.max() and own[:2].mean() == pytest.approx(0.5)
    other = X.copy()
    other[:, -3:] = SPACE.smallest()[-3:]
    np.testing.assert_array_equal(size(SPACE, other), own, "a recipe is no size")
    wider = np.minimum(X + np.eye(X.shape[1], dtype=int)[0], SPACE.largest())
    assert (size(SPACE, wider) >= own).all() and (size(SPACE, wider) > own).any()


@given(st.integers(1, 40), st.integers(0, 6), st.integers(0, 2**31))
def test_the_first_lie_about_the_middle_and_apart(k: int, n: int, seed: int) -> None:
    points = np.random.default_rng(seed).random((k, 3))
    n = min(n, k)
    chosen = apart_about_the_middle(points, n)
    assert len(set(chosen.tolist())) == len(chosen) == n
    off = ((points - 0.5) ** 2).sum(axis=1)
    nearest = np.sort(off)[: max(n, round(0.2 * k))]
    assert np.isin(off[chosen], nearest).all() and (off[chosen[:1]] == off.min()).all()


@needs_botorch
def test_what_changes_quickly_is_expected_to() -> None:
    from netdyno.nas.search.bayes.averaged import Averaged

    def truth(X: Floats) -> Floats:
        return np.sin(9 * X[:, -1]) + 0.3 * X[:, :3].sum(axis=1)

    unseen = np.random.default_rng(0).random((400, 8))
    off = np.empty((4, 2))
    for seed in range(len(off)):
        points = np.random.default_rng(seed + 1).random((10, 8))
        for quick in (0, 1):
            off[seed, quick] = np.abs(Averaged(points, truth(points), quick=quick)(unseen)[0] - truth(unseen)).mean()
    assert off[:, 1].mean() < 0.8 * off[:, 0].mean()


@needs_botorch
def test_an_average_over_scales_is_sure_of_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few points: what is unseen lies within the average's interval more often, and is nearer to likely."""
    from netdyno.nas.search.bayes import averaged

    def truth(X: Floats) -> Floats:
        return np.sin(5 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * X[:, 3]

    unseen = np.random.default_rng(0).random((400, 8))
    told = np.empty((6, 2, 2))
    for seed in range(len(told)):
        points = np.random.default_rng(seed + 1).random((12, 8))
        for i, kept in enumerate((1, averaged.KEPT)):
            monkeypatch.setattr(averaged, "KEPT", kept)
            mean, spread = averaged.Averaged(points, truth(points))(unseen)
            off = (truth(unseen) - mean) / spread
            told[seed, i] = (-0.5 * off**2 - np.log(spread)).mean(), (np.abs(off) < 1.96).mean()
    density, covered = told.mean(axis=0).T
    assert density[1] > density[0] and covered[1] > max(covered[0], 0.8)


@needs_botorch
@pytest.mark.parametrize("seed", range(3))
def test_mean_and_variance_are_the_likeliest(seed: int) -> None:
    import torch
    from scipy.stats import multivariate_normal

    from netdyno.nas.search.bayes.averaged import NOISE, _explain

    generator = np.random.default_rng(seed)
    points, y, lengths = generator.random((9, 3)), generator.normal(5, 2, 9), generator.uniform(0.2, 2, (4, 3))
    every = (each.numpy() for each in _explain(*map(torch.from_numpy, (points, y, lengths))))
    constant = []
    for length, mean, variance, likelihood in zip(lengths, *every, strict=True):
        between = ((points[:, None] - points) / length) ** 2
        covariance = np.exp(-0.5 * between.sum(axis=2)) + NOISE * np.eye(9)

        def log_density(mean: float, variance: float, covariance: Floats = covariance) -> float:
            return float(multivariate_normal.logpdf(y, np.full(9, mean), variance * covariance))

        best = log_density(mean, variance)
        near = [log_density(mean * i, variance * j) for i in (0.99, 1.0, 1.01) for j in (0.97, 1.0, 1.03)]
        assert max(near) == pytest.approx(best, abs=1e-9)
        constant.append(best - likelihood)
    assert np.ptp(constant) < 1e-6


def test_a_fit_that_begins_anew_does_so_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was drawn before: a search that was killed has drawn other numbers when it comes to the same fit."""
    torch = pytest.importorskip("torch")
    surrogate = pytest.importorskip("netdyno.nas.search.bayes.surrogate")
    drawn = []
    monkeypatch.setattr(surrogate, "fit_gpytorch_mll", lambda *_, **__: drawn.append(torch.rand(3).tolist()))
    points, y = np.random.default_rng(0).random((5, 2)), np.arange(5.0)
    following = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        surrogate.Surrogate(points, y)
        following.append(torch.rand(1).item())
    assert drawn[0] == drawn[1] and following[0] != following[1]


def test_a_space_that_is_known_gives_what_is_known() -> None:
    tiny = make_space("mobilenet-v2")
    known = tiny.sample(1, 0)
    one = suggest(tiny, lambda X: np.zeros(len(X)), known, known, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(one, known)


def run(method: str, evaluations: int, seed: int = 0, limit: Constraint | None = None, **options: Any) -> Population:
    """All that a search asked for, in its order."""
    asked: list[Population] = []

    def note(X: Population) -> Floats:
        asked.append(X)
        return error(X)

    constraints = [limit or Count(SPACE, "macs").at_most(6e6)]
    search(SPACE, [Objective("error_pct", note)], method, evaluations, seed, constraints=constraints, **options)
    return np.concatenate(asked)


@needs_botorch
def test_what_breaks_a_limit_is_never_trained() -> None:
    assert (SPACE.macs(run("hyperpower", 14)) <= 6e6).all()


@needs_botorch
def test_the_one_that_was_found_to_keep_to_limits_is_trained_first_only_where_little_else_does() -> None:
    smallest = SPACE.smallest()
    wide = run("hyperpower", 4)
    assert (wide != smallest).any(axis=1).all(), "trainings about the middle are worth more"
    narrow = run("hyperpower", 4, limit=Count(SPACE, "macs").at_most(float(SPACE.macs(smallest[None])[0])))
    assert SPACE.macs(narrow).min() == SPACE.macs(smallest[None])[0]


@needs_botorch
def test_a_cautious_search_keeps_to_the_far_end_of_a_model_s_interval() -> None:
    limit = Guess(0.2).at_most(6e6)
    careful, bold = (run("hyperpower", 12, limit=limit, margin=own, startup=8) for own in (1.0, 0.0))
    assert (SPACE.macs(careful) <= 6e6).all()
    assert (Guess(0.2)(bold) <= 6e6).all() and (SPACE.macs(bold) > 6e6).any()
    at_least = Guess(0.2).at_least(6e6).cautious()
    X = SPACE.sample(50, 0)
    np.testing.assert_array_equal(at_least.evaluate(X), Guess(0.2)(X) / 1.2)
    assert (exact := Count(SPACE, "macs").at_most(1.0)).cautious() is exact


@pytest.mark.slow
@needs_botorch
def test_it_is_ahead_of_its_baselines() -> None:
    """After 15 evaluations, what was learnt shows."""
    reached = {}
    for method in ("hyperpower", "rejection", "random-walk"):
        reached[method] = []
        for seed in range(3):
            X = run(method, 15, seed)
            reached[method].append(np.where(SPACE.macs(X) <= 6e6, error(X), 100.0).min())
    assert np.mean(reached["hyperpower"]) < min(np.mean(reached["rejection"]), np.mean(reached["random-walk"]))


@pytest.mark.slow
@needs_botorch
def test_plain_bayesian_optimisation_learns_the_limit() -> None:
    X = run("constrained-bo", 24)
    broken = SPACE.macs(X) > 6e6
    assert broken[:5].any() and broken[-8:].mean() < broken[:8].mean()


@needs_botorch
@pytest.mark.parametrize("method", ["hyperpower", "constrained-bo"])
def test_suggestions_of_a_batch_differ(method: str) -> None:
    X = run(method, 14, batch=3)
    assert len(np.unique(X, axis=0)) == 14


@needs_botorch
@pytest.mark.parametrize("value", [0.0, 50.0, -3.0])
def test_errors_that_are_all_alike(value: float) -> None:
    front = search(SPACE, [Objective("error_pct", lambda X: np.full(len(X), value))], "hyperpower", 8)
    assert front.evaluations == 8 and front.F.min() == value


@needs_botorch
@pytest.mark.parametrize("wrong", [{"startup": 0}, {"candidates": 1}, {"batch": 0}])
@pytest.mark.parametrize("method", ["hyperpower", "constrained-bo"])
def test_settings_that_cannot_be(method: str, wrong: dict[str, int], refuses: Refuses) -> None:
    assert "Bayesian optimisation needs" in refuses(lambda: run(method, 5, **wrong))
    assert "margin" in refuses(lambda: run("hyperpower", 5, margin=-1.0))


@needs_botorch
def test_several_objectives(refuses: Refuses) -> None:
    two = [Objective("error_pct", error), Count(SPACE, "macs").minimize()]
    assert "one objective" in refuses(lambda: search(SPACE, two, "hyperpower", 5))
