"""In how many runs does Bayesian optimisation find the λ that random search finds in twenty?

A simulated search stands in for real ones: Gaussian processes fitted to the real searches in ``penalty_runs.csv``,
for each number of steps one of accuracy and one of latency, over λ, with the scatter that they leave. Each seed draws
runs of its own. What counts is what the λ that was found is worth on average. Prints one JSON line.

    python benchmarks/penalty.py
"""

from __future__ import annotations

import argparse
import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from netdyno.nas.search.bayes import Reward
from netdyno.nas.search.bayes.tune import FIRST, METHODS, best_of, recommend, tune
from netdyno.nas.search.differentiable.reward import reward

RANDOM = 20
OUTCOMES = ("accuracy_pct", "latency_ms")


class SimulatedSearch:
    """Accuracy and latency that a search with a λ ends with, as real ones of as many steps did."""

    def __init__(self, runs: pd.DataFrame) -> None:
        most = int(runs["steps"].max())
        self.bounds = float(runs["penalty"].min()), float(runs["penalty"].max())
        self.models = {
            steps / most: [fit(rows["penalty"].to_numpy(), rows[name].to_numpy()) for name in OUTCOMES]
            for steps, rows in runs.groupby("steps")
        }

    def scatter(self, share: float = 1.0) -> NDArray[np.float64]:
        """Standard deviation of each outcome among runs of one λ."""
        return np.array([np.sqrt(m.kernel_.k2.noise_level) * m._y_train_std for m in self.models[share]])

    def mean(self, penalty: NDArray[np.float64], share: float = 1.0) -> NDArray[np.float64]:
        """Outcomes ``(n, 2)`` on average."""
        return np.stack([model.predict(np.log(penalty)[:, None]) for model in self.models[share]], axis=1)

    def run(self, generator: np.random.Generator, penalty: float, share: float) -> list[float]:
        """Outcomes of one run."""
        noise = generator.normal(0, self.scatter(share))
        drawn: list[float] = (self.mean(np.array([penalty]), share)[0] + noise).tolist()
        return drawn


def fit(penalty: NDArray[np.float64], outcome: NDArray[np.float64]) -> GaussianProcessRegressor:
    """An outcome over the logarithm of λ."""
    kernel = ConstantKernel() * RBF(1.0, (0.3, 10.0)) + WhiteKernel(0.1, (1e-4, 1.0))
    model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(np.log(penalty)[:, None], outcome)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="?", default=Path(__file__).with_name("penalty_runs.csv"))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()

    runs = pd.read_csv(options.runs)
    simulated = SimulatedSearch(runs)
    every = simulated.mean(np.geomspace(*simulated.bounds, 400))
    result = {"benchmark": "penalty", "real_searches": len(runs), "scatter": simulated.scatter().round(4).tolist()}
    for share in (0.25, 0.5, 0.75):
        least, most = every[:, 1].min(), every[:, 1].max()
        target = float(least ** (1 - share) * most**share)
        worth = partial(reward, target=target)
        courses = {
            method: np.array([course(simulated, worth, method, seed) for seed in range(options.seeds)])
            for method in METHODS
        }
        wanted = courses["random"][:, RANDOM - 1]
        result[f"target {target:.4f} ms"] = {
            "best_there_is": round(float(worth(every).max()), 2),
            "random_after_20": round(wanted.mean(), 2),
            "by_method": {
                method: {
                    "mean_reaches_it_after": first(found.mean(axis=0) >= wanted.mean()),
                    "each_seed_after": [first(own >= its) for own, its in zip(found, wanted, strict=True)],
                    "after_5": round(found[:, 4].mean(), 2),
                    "after_10": round(found[:, 9].mean(), 2),
                    "spread_after_10": round(found[:, 9].std(ddof=1), 2),
                }
                for method, found in courses.items()
            },
        }
    print(json.dumps(result))


def course(simulated: SimulatedSearch, worth: Reward, method: str, seed: int) -> list[float]:
    """What the best λ is worth on average, once so many runs of all epochs, from 1 on, are spent; 0 before any."""
    run = partial(simulated.run, np.random.default_rng([seed, METHODS.index(method)]))
    trials = tune(run, worth, simulated.bounds, method, RANDOM if method == "random" else RANDOM / 2, seed)
    spent = np.cumsum([trial.share for trial in trials])
    found = []
    for budget in range(1, RANDOM + 1):
        until = [trial for trial, cost in zip(trials, spent, strict=True) if cost <= budget + 1e-9]
        if not until:
            found.append(0.0)
            continue
        modelled = method != "random" and len(until) >= FIRST
        chosen = recommend(until, simulated.bounds, worth) if modelled else best_of(until).setting
        found.append(float(worth(simulated.mean(np.array([chosen])))[0]))
    return found


def first(reached: NDArray[np.bool_]) -> int | None:
    """The number of the first that is true, from 1 on."""
    return int(reached.argmax()) + 1 if reached.any() else None


if __name__ == "__main__":
    main()
