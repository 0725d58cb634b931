"""Does Bayesian optimisation that knows the limits beforehand train less, and nothing that breaks them?

A problem shaped like cnn-cifar10: errors by a Gaussian process frozen beforehand, fitted to the real trainings in
``training_runs.csv``; latency and memory by a measured table, with limits that few of its networks keep to. Each
search has fifty evaluations and several seeds. Every network that HyperPower asked for is then really measured, among
the table's own, which tell the machine's drift. Prints one JSON line.

    netdyno profile cnn-cifar10:resolution=16 --metrics latency,memory --out build/hyperpower/table
    OMP_NUM_THREADS=1 python benchmarks/hyperpower.py build/hyperpower/table
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import KFold, cross_val_predict

from netdyno.base.objective import Constraint, Objective
from netdyno.devices import Settings, open_device
from netdyno.nas.search import search
from netdyno.nas.search.bayes.points import in_cube, step
from netdyno.nas.space import Population, Space, parse_genes, parse_space
from netdyno.profiler.lower import random_weights
from netdyno.profiler.measure import Method
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import LookupTable, format_genes, load_table
from netdyno.remeasure import measure_again

METHODS = ("hyperpower", "constrained-bo", "random", "random-walk")
EVALUATIONS = 50
METRICS = ("latency_ms", "memory_bytes")
Floats = NDArray[np.float64]


class Response:
    """The error in percent of a network trained by its recipe, by a process that was fitted to real trainings."""

    def __init__(self, space: Space, runs: pd.DataFrame) -> None:
        self._space = space
        points = self._points(np.stack([parse_genes(space, genes) for genes in runs["genes"]]))
        kernel = ConstantKernel() * RBF(np.ones(points.shape[1]), (0.1, 30.0)) + WhiteKernel(0.1, (1e-4, 1.0))
        model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0)
        target = np.log(runs["error_pct"].to_numpy(float))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            unseen = cross_val_predict(model, points, target, cv=KFold(10, shuffle=True, random_state=0))
            self._model = model.fit(points, target)
        self.agreement = float(spearmanr(unseen, target).statistic)
        self.explained = float(1 - np.mean((unseen - target) ** 2) / target.var())

    def __call__(self, X: Population) -> Floats:
        """Of ``X (n, genes)``, ``(n,)``."""
        found: Floats = np.clip(np.exp(self._model.predict(self._points(X))), 0.1, 90.0)
        return found

    def _points(self, X: Population) -> Floats:
        return np.concatenate([in_cube(self._space, X), step(self._space, X)], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--runs", type=Path, default=Path(__file__).with_name("training_runs.csv"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--feasible", type=float, default=0.2, help="share of the space that keeps to both limits")
    parser.add_argument("--budget", type=float, default=240.0, help="seconds for measuring; 0 leaves that out")
    options = parser.parse_args()

    table = load_table(options.table)
    space = parse_space(table.conditions["subject"])
    runs = pd.read_csv(options.runs)
    response = Response(space, runs)
    limits = feasible_limits(table, space, options.feasible)
    courses: dict[str, list[Population]] = {method: [] for method in METHODS}
    for method in METHODS:
        for seed in range(options.seeds):
            courses[method].append(course(space, response, limits, method, seed))
            print(f"{method} {seed}", file=sys.stderr, flush=True)
    result = {
        "benchmark": "hyperpower",
        "trainings": len(runs),
        "response": {"explained": round(response.explained, 3), "spearman": round(response.agreement, 3)},
        "feasible": options.feasible,
        "limits": [str(limit) for limit in limits],
        "by_method": {method: told(courses[method], response, limits) for method in METHODS},
    }
    best = {method: reached(courses[method], response, limits).mean(axis=0) for method in METHODS}
    goal = float(best["constrained-bo"][-1])
    caught = best["hyperpower"] <= goal
    result["reaches_constrained_bo_s_after"] = int(caught.argmax()) + 1 if caught.any() else None
    if options.budget:
        result["measured"] = measured(table, space, courses["hyperpower"], limits, options.budget)
    print(json.dumps(result))


def feasible_limits(table: LookupTable, space: Space, feasible: float) -> list[Constraint]:
    """A limit on each metric, at one quantile, so that a share of the space, as near as it comes, keeps to both."""
    costs = [table.cost(space, metric) for metric in METRICS]
    values = np.stack([cost(space.sample(20_000, 0)) for cost in costs])
    shares = np.linspace(0.05, 0.95, 181)
    joint = [(values <= np.quantile(values, share, axis=1)[:, None]).all(axis=0).mean() for share in shares]
    share = shares[int(np.abs(np.array(joint) - feasible).argmin())]
    return [cost.at_most(float(np.quantile(own, share))) for cost, own in zip(costs, values, strict=True)]


def course(space: Space, response: Response, limits: Sequence[Constraint], method: str, seed: int) -> Population:
    """What a search asked for, in its order."""
    asked: list[Population] = []

    def note(X: Population) -> Floats:
        asked.append(X)
        return response(X)

    search(space, [Objective("error_pct", note)], method, EVALUATIONS, seed, constraints=limits)
    return np.concatenate(asked)


def violates(X: Population, limits: Sequence[Constraint]) -> NDArray[np.bool_]:
    """Whether networks break a limit, by the table."""
    return np.any([limit.violation(X) > 0 for limit in limits], axis=0)


def reached(courses: Sequence[Population], response: Response, limits: Sequence[Constraint]) -> Floats:
    """The best error among those that keep to the limits, after each evaluation, ``(seeds, evaluations)``."""
    errors = np.stack([np.where(violates(X, limits), 90.0, response(X)) for X in map(padded, courses)])
    return np.minimum.accumulate(errors, axis=1)


def padded(X: Population) -> Population:
    """As many as were to be evaluated: what was asked for again is not evaluated twice."""
    return np.concatenate([X, np.repeat(X[-1:], EVALUATIONS - len(X), axis=0)])


def told(courses: Sequence[Population], response: Response, limits: Sequence[Constraint]) -> dict[str, Any]:
    """Mean over seeds of the best error after some evaluations, and the share of networks that break a limit."""
    best = reached(courses, response, limits)
    return {
        **{f"best_error_after_{n}_pct": round(float(best[:, n - 1].mean()), 2) for n in (5, 10, 15, 25, 50)},
        "spread_after_50": round(float(best[:, -1].std(ddof=1)), 2),
        "violations_by_the_table_pct": round(100 * float(np.mean([violates(X, limits).mean() for X in courses])), 1),
    }


def measured(
    table: LookupTable, space: Space, courses: Sequence[Population], limits: Sequence[Constraint], budget: float
) -> dict[str, Any]:
    """How many of the networks that were asked for break a limit when they are measured, each as often as asked."""
    every = np.concatenate(courses)
    graphs = {
        format_genes(genes): space.graph(genes, [random_weights(layer) for layer in space.layers(genes)])
        for genes in np.unique(every, axis=0)
    }
    with open_device("cpu") as device:
        run = Profiling(device, Settings("onnxruntime"), Method(budget_s=budget, memory=True))
        again = measure_again(graphs, table=table, space=space, run=run)
    rows = again.rows.loc[[format_genes(genes) for genes in every]]
    latency, memory = rows["latency_ms"] / again.drift, rows["memory_bytes"].astype(float)
    broken = {"latency_ms": latency > limits[0].limit, "memory_bytes": memory > limits[1].limit}
    return {
        "networks": len(graphs),
        "violations_pct": round(100 * float((broken["latency_ms"] | broken["memory_bytes"]).mean()), 1),
        **{f"violations_of_{name}_pct": round(100 * float(own.mean()), 1) for name, own in broken.items()},
        "latency_mape_pct": round(float(np.abs(again.latency_error_pct).mean()), 2),
        "drift_pct": round(100 * (again.drift - 1), 2),
    }


if __name__ == "__main__":
    main()
