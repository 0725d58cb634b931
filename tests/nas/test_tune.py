"""Finding λ in few runs, and what a search is worth under a target."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import UnknownName
from netdyno.nas.search.bayes.tune import METHODS, SHARES, best_of, tune
from netdyno.nas.search.differentiable.reward import reward

Refuses = Callable[[Callable[[], object]], str]
BOUNDS = (1e-3, 1.0)
WORTH = partial(reward, target=0.12)


def search(penalty: float, share: float) -> tuple[float, float]:
    """Accuracy in percent and latency in ms, as a search with this λ ends with: both fall with it."""
    latency = 0.06 + 0.18 / (1 + (penalty / 0.05) ** 1.5) + 0.02 * (1 - share)
    return 95 - 12 * np.exp(-(latency - 0.05) / 0.05) - 10 * (1 - share), latency


def worth(penalty: float) -> float:
    return float(WORTH(np.array(search(penalty, 1.0))))


@given(st.floats(0, 100), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_within_the_target_accuracy_alone_counts(accuracy: float, runtime: float, target: float) -> None:
    found = reward(np.array([[accuracy, runtime]]), target)[0]
    assert found == pytest.approx(accuracy if runtime <= target else accuracy * target / runtime)


def test_the_reward_is_mnasnet_s() -> None:
    np.testing.assert_allclose(reward(np.array([[[80.0, 75.0]], [[80.0, 150.0]]]), 75.0), [[80.0], [40.0]])


@pytest.mark.parametrize("method", METHODS)
def test_the_budget_is_kept_and_the_seed_decides(method: str) -> None:
    if method != "random":
        pytest.importorskip("botorch", reason="Bayesian optimisation needs the extra lab")
    trials = tune(search, WORTH, BOUNDS, method, 5, seed=2)
    spent = sum(trial.share for trial in trials)
    assert 4 < spent <= 5
    for trial in trials:
        assert BOUNDS[0] <= trial.setting <= BOUNDS[1] and trial.share in SHARES
        assert trial.outcomes == search(trial.setting, trial.share)
        assert trial.reward == WORTH(np.array(trial.outcomes))
    assert best_of(trials).share == 1.0
    if method == "multi-fidelity":
        assert {trial.share for trial in trials} > {1.0}
    again = tune(search, WORTH, BOUNDS, method, 5, seed=2)
    assert [trial.setting for trial in again] == pytest.approx([trial.setting for trial in trials], rel=1e-9)
    assert tune(search, WORTH, BOUNDS, method, 1, seed=3)[0].setting != trials[0].setting


@pytest.mark.parametrize("method", ["bayes", pytest.param("multi-fidelity", marks=pytest.mark.slow)])
def test_bayesian_optimisation_finds_the_best(method: str) -> None:
    pytest.importorskip("botorch", reason="Bayesian optimisation needs the extra lab")
    best = max(worth(penalty) for penalty in np.geomspace(*BOUNDS, 2000))
    found = [worth(best_of(tune(search, WORTH, BOUNDS, method, 6, seed)).setting) for seed in range(3)]
    assert np.median(found) > 0.99 * best, (found, best)


def test_runs_of_noise_alone_are_no_trouble() -> None:
    pytest.importorskip("botorch", reason="Bayesian optimisation needs the extra lab")
    generator = np.random.default_rng(0)
    trials = tune(lambda *_: generator.normal([80, 1], [1, 0.1]).tolist(), WORTH, BOUNDS, "bayes", 6)
    assert len(trials) == 6
    same = tune(lambda *_: (50.0, 0.2), WORTH, BOUNDS, "multi-fidelity", 3)
    assert best_of(same).reward == pytest.approx(30.0)


def test_what_cannot_be_tuned(refuses: Refuses) -> None:
    with pytest.raises(UnknownName, match="multi-fidelity"):
        tune(search, WORTH, BOUNDS, "guess")
    for bounds in ((0.0, 1.0), (1.0, 1.0), (1.0, float("inf"))):
        refuses(lambda bounds=bounds: tune(search, WORTH, bounds))  # type: ignore[misc]
    refuses(lambda: tune(search, WORTH, BOUNDS, budget=0.5))
