"""Find a setting, such as a search's λ, in few runs: by Gaussian processes, over several epochs, or at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netdyno.base.errors import InputError, UnknownName
from netdyno.base.progress import Progress, silent
from netdyno.base.registry import require
from netdyno.nas.search.bayes import Floats, Reward

if TYPE_CHECKING:
    from netdyno.nas.search.bayes.outcomes import Outcomes

Run = Callable[[float, float], Sequence[float]]
"""A setting and the share of all epochs to what a run with these ends with."""

METHODS = ("bayes", "multi-fidelity", "random")
FIRST = 3
"""Runs before there is a model."""
SHARES = (0.25, 0.5, 1.0)
CHEAP = 0.3
"""Share of the budget that a multi-fidelity search spends on runs of fewer epochs."""
_GRID = np.linspace(0, 1, 201)


@dataclass(frozen=True)
class Trial:
    """A run with a ``setting`` and a ``share`` of all epochs, what it ended with, and what that is worth."""

    setting: float
    share: float
    outcomes: tuple[float, ...]
    reward: float


def tune(
    run: Run,
    reward: Reward,
    bounds: tuple[float, float],
    method: str = "bayes",
    budget: float = 10.0,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Trial]:
    """Trials in their order; ``budget`` is how many runs of all epochs they may cost together.

    ``bounds`` of the setting are positive: it is searched in the logarithm.

    Raises:
        UnknownName: no such method.
        InputError: no bounds, or a budget of less than one run.
        MissingExtra: BoTorch is not installed, and the method is not ``random``.
    """
    if method not in METHODS:
        raise UnknownName("way to tune", method, METHODS)
    least, most = bounds
    if not (0 < least < most < np.inf and budget >= 1):
        raise InputError(f"tuning needs bounds 0 < least < most and a run at least, not {bounds} and {budget:g}")
    if method != "random":  # before the first run, not after it
        require("botorch", extra="lab", purpose="Bayesian optimisation")
    generator = np.random.default_rng(seed)
    trials: list[Trial] = []
    spent = 0.0
    for at, share in _asked(method, trials, reward, bounds, budget, generator):
        if spent + share > budget + 1e-9:
            break
        setting = float(least * (most / least) ** at)
        outcomes = tuple(float(value) for value in run(setting, share))
        trials.append(Trial(setting, share, outcomes, float(reward(np.array(outcomes)))))
        spent += share
        progress("tune", len(trials), len(trials) + round(budget - spent), f"{setting:.3g}: {trials[-1].reward:.4g}")
    return trials


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial of the largest reward among those of most epochs."""
    most = max(trial.share for trial in trials)
    return max((trial for trial in trials if trial.share == most), key=lambda trial: trial.reward)


def recommend(trials: Sequence[Trial], bounds: tuple[float, float], reward: Reward) -> float:
    """The setting of a trial that is worth most on average, as far as Gaussian processes can tell luck from it."""
    model, X = _modelled(trials, bounds, 0)
    return trials[int(model.expected_reward(X, reward).argmax())].setting


def _asked(
    method: str,
    trials: list[Trial],
    reward: Reward,
    bounds: tuple[float, float],
    budget: float,
    generator: np.random.Generator,
) -> Iterator[tuple[float, float]]:
    """Where to run next, from 0 to 1, and for what share of epochs; reads ``trials`` as they come."""
    if method == "random":
        while True:
            yield float(generator.random()), 1.0
    by_epochs = method == "multi-fidelity"
    shift = generator.random()
    for position in range(FIRST):
        yield (position + shift) / FIRST, min(SHARES) if by_epochs else 1.0
    while True:
        model, whole = _modelled(trials, bounds, int(generator.integers(2**31)))
        full = np.stack([_GRID, np.ones_like(_GRID)], axis=1)
        # Not the best that was seen: runs scatter, and a lucky one would make all that is near it look hopeless.
        best = float(model.expected_reward(whole, reward).max())
        gain = model.expected_improvement(full, best, reward)
        if not gain.any():
            gain = model.expected_reward(full, reward)
        chosen = full[[int(gain.argmax())]]
        cheap = by_epochs and sum(trial.share for trial in trials) < CHEAP * budget
        yield float(chosen[0, 0]), _worth(model, chosen) if cheap else 1.0


def _modelled(trials: Sequence[Trial], bounds: tuple[float, float], seed: int) -> tuple[Outcomes, Floats]:
    """A model of the trials, and their settings as runs of all epochs, ``(n, 2)``."""
    from netdyno.nas.search.bayes.outcomes import Outcomes

    least, most = bounds
    at = np.log([trial.setting / least for trial in trials]) / np.log(most / least)
    X = np.stack([at, [trial.share for trial in trials]], axis=1)
    model = Outcomes(X, np.array([trial.outcomes for trial in trials]), seed)
    return model, np.stack([at, np.ones_like(at)], axis=1)


def _worth(model: Outcomes, chosen: Floats) -> float:
    """The share of epochs that tells most of a whole run for what it costs."""
    near = np.array([[chosen[0, 0], share] for share in SHARES])
    told = model.told(near, np.repeat(chosen, len(SHARES), axis=0))
    return SHARES[int((told / np.array(SHARES)).argmax())]
