"""In how many runs does Bayesian optimisation find the λ that random search finds in twenty?

A simulated search stands in for real ones: Gaussian processes fitted to the real searches in ``penalty_runs.csv``,
one of accuracy and one of latency, over λ and steps, with the scatter that they leave. Each seed draws runs of its
own. What counts is what the λ that was found is worth on average. Prints one JSON line.

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

from netdyno.nas.search.bayes.tune import METHODS, Trial, best_of, tune
from netdyno.nas.search.differentiable.reward import reward

RANDOM = 20
OUTCOMES = ("accuracy_pct", "latency_ms")


class SimulatedSearch:
    """Accuracy and latency that a search with a λ ends with, as real ones did."""

    def __init__(self, runs: pd.DataFrame) -> None:
        self.steps = int(runs["steps"].max())
        self.bounds = float(runs["penalty"].min()), float(runs["penalty"].max())
        X = self._inputs(runs["penalty"].to_numpy(), runs["steps"].to_numpy() / self.steps)
        self.models = []
        for name in OUTCOMES:
            kernel = ConstantKernel() * RBF([1.0, 1.0], (0.2, 20.0)) + WhiteKernel(0.1, (1e-4, 1.0))
            model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                self.models.append(model.fit(X, runs[name].to_numpy()))

    @staticmethod
    def _inputs(penalty: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.log(penalty), np.log(share)], axis=1)

    @property
    def scatter(self) -> NDArray[np.float64]:
        """Standard deviation of each outcome among runs of one λ."""
        return np.array([np.sqrt(m.kernel_.k2.noise_level) * m._y_train_std for m in self.models])

    def mean(self, penalty: NDArray[np.float64], share: float = 1.0) -> NDArray[np.float64]:
        """Outcomes ``(n, 2)`` on average."""
        X = self._inputs(penalty, np.full(len(penalty), share))
        return np.stack([model.predict(X) for model in self.models], axis=1)

    def run(self, generator: np.random.Generator, penalty: float, share: float) -> list[float]:
        """Outcomes of one run."""
        drawn: list[float] = (self.mean(np.array([penalty]), share)[0] + generator.normal(0, self.scatter)).tolist()
        return drawn


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="?", default=Path(__file__).with_name("penalty_runs.csv"))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()

    runs = pd.read_csv(options.runs)
    simulated = SimulatedSearch(runs)
    every = np.geomspace(*simulated.bounds, 400)
    latency = simulated.mean(every)[:, 1]
    result = {"benchmark": "penalty", "real_searches": len(runs), "scatter": simulated.scatter.round(4).tolist()}
    for share in (0.25, 0.5, 0.75):
        target = float(latency.min() ** (1 - share) * latency.max() ** share)
        worth = partial(reward, target=target)
        best = float(worth(simulated.mean(every)).max())
        told = {"best_there_is": round(best, 2)}
        for method in METHODS:
            told[method] = [_course(simulated, worth, method, seed) for seed in range(options.seeds)]
        found = [course[-1][1] for course in told["random"]]
        told_runs = {
            method: [
                next((spent for spent, value in course if value >= wanted), None)
                for course, wanted in zip(told[method], found, strict=True)
            ]
            for method in METHODS
        }
        result[f"target {target:.4f} ms"] = {
            "best_there_is": round(best, 2),
            "random_after_20": [round(value, 2) for value in found],
            "reached_after": told_runs,
        }
    print(json.dumps(result))


def _course(simulated: SimulatedSearch, worth, method: str, seed: int) -> list[tuple[float, float]]:
    """After each run of all epochs: what was spent, and what the best λ until then is worth on average."""
    run = partial(simulated.run, np.random.default_rng([seed, METHODS.index(method)]))
    budget = RANDOM if method == "random" else RANDOM / 2
    trials = tune(run, worth, simulated.bounds, method, budget, seed)
    course = []
    for n in range(1, len(trials) + 1):
        if any(trial.share == 1.0 for trial in trials[:n]):
            best: Trial = best_of(trials[:n])
            value = float(worth(simulated.mean(np.array([best.setting])))[0])
            course.append((sum(trial.share for trial in trials[:n]), value))
    return course


if __name__ == "__main__":
    main()
