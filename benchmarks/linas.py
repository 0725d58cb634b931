"""How many measurements LINAS needs for the front that NSGA-II finds with 500, random search beside them.

Prints one JSON line. The truth is a surrogate fitted to the published measured accuracies of 2,162 architectures, of
another family than LINAS's predictors, with measured noise; the other objective is exact MACs. Of three families the
one with the least error on held-out architectures is the truth. Also replays the published runs in their own order.
``--ablations`` varies LINAS's inner algorithm, predictor and population instead; ``--truth`` takes another family.
The ratio is against the best of the settings of NSGA-II. Needs the reference data
(../shared/refdata or $NETDYNO_REFDATA).

    OMP_NUM_THREADS=1 python benchmarks/linas.py [--ablations]
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import netdyno as nd
from netdyno.base.objective import Objective
from netdyno.nas import pareto
from netdyno.nas.regression import Encoding

REFDATA = Path(os.environ.get("NETDYNO_REFDATA", "../shared/refdata")) / "dynast_measured"
SEEDS = range(1, 6)
NOISE_POINTS = 0.02
REFERENCE = (500.0, 30.0)
"""MMACs, and error in percent: an accuracy of 70 %."""
AT = (50, 100, 150, 250, 500)
PUBLISHED_RUNS = {"linas": "mbnv3w10_linasnsga2_acc_macs.csv", "nsga2": "mbnv3w10_evonsga2_acc_macs.csv"}
PUBLISHED = {"linas": (1919, 2046, 2205, 2228, 2334), "nsga2": (1879, 1982, 2084, 2147, 2255)}
EXACT_MACS: dict[str, Any] = {"predicted": ["error_pct"]}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "linas": ("linas", EXACT_MACS),
    "one-shot": ("one-shot", EXACT_MACS),
    "nsga2 published": ("nsga2", {"operators": "published"}),
    "nsga2": ("nsga2", {}),
    "nsga2 published, population 50": ("nsga2", {"operators": "published", "population": 50}),
    "nsga2, population 50": ("nsga2", {"population": 50}),
    "random": ("random", {}),
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"algorithm={name}": {"algorithm": name} for name in ("sms-emoa", "spea2", "random")},
    **{f"predictor={name}": {"predictor": name} for name in ("ridge", "linear-svr", "svr", "stacked")},
    **{f"population={n}": {"population": n} for n in (10, 25, 100)},
}
Floats = NDArray[np.float64]
SPACE = nd.space("ofa-mobilenetv3", width=1.0, resolutions=[224])


def read(pattern: str) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Architectures of published runs in their order, their accuracies in percent, and MMACs."""
    rows = [row for path in sorted(REFDATA.glob(pattern)) for row in csv.DictReader(path.open(encoding="utf-8"))]
    assert rows, f"no {pattern} in {REFDATA}; $NETDYNO_REFDATA says where the reference data is"
    published = [ast.literal_eval(row["Sub-network"]) for row in rows]
    X = SPACE.encode([{name: each[name] for name in ("ks", "e", "d", "r")} for each in published])
    accuracy, macs = (np.array([float(row[name]) for row in rows]) for name in ("Top-1 Acc (%)", "MACs"))
    return X, accuracy, macs / 1e6


def families() -> dict[str, Any]:
    kernel = ConstantKernel() * RBF(10.0) + WhiteKernel(0.05)
    return {
        "gaussian process": GaussianProcessRegressor(kernel, normalize_y=True),
        "gradient boosting": GradientBoostingRegressor(
            n_estimators=600, max_depth=4, learning_rate=0.05, subsample=0.7, random_state=0
        ),
        "extra trees": ExtraTreesRegressor(300, max_features=0.5, random_state=0),
    }


class Truth:
    """A surrogate with noise that is one architecture's own, another with each seed."""

    def __init__(self, family: str | None) -> None:
        X, accuracy, _ = read("mbnv3w10_*.csv")
        X, first = np.unique(SPACE.canonical(X), axis=0, return_index=True)
        accuracy = accuracy[first]
        self.architectures = len(X)
        self._encoding = Encoding(SPACE, X)
        features = self._encoding(X)
        unseen, seen = np.split(np.random.default_rng(0).permutation(len(X)), [len(X) // 5])
        self.held_out_mae: dict[str, float] = {}
        for name, model in families().items():
            found = model.fit(features[seen], accuracy[seen]).predict(features[unseen])
            self.held_out_mae[name] = round(float(np.abs(found - accuracy[unseen]).mean()), 4)
        self.family = family or min(self.held_out_mae, key=self.held_out_mae.__getitem__)
        self._model = families()[self.family].fit(features, accuracy)

    def error_pct(self, X: NDArray[np.int64], seed: int) -> Floats:
        canonical = SPACE.canonical(X)
        noise = [np.random.default_rng([seed, *genes]).normal(0, NOISE_POINTS) for genes in canonical.tolist()]
        error: Floats = 100 - self._model.predict(self._encoding(canonical)) + np.array(noise)
        return error


def mmacs(X: NDArray[np.int64]) -> Floats:
    return SPACE.macs(X) / 1e6


def measured(truth: Truth, method: str, options: dict[str, Any], evaluations: int, seed: int) -> Floats:
    """What was measured in one search, ``(evaluations, 2)`` in its order."""
    F: list[Floats] = []

    def error(X: NDArray[np.int64]) -> Floats:
        values = truth.error_pct(X, seed)
        F.append(np.stack([mmacs(X), values], axis=1))
        return values

    objectives = [Objective("mmacs", mmacs), Objective("error_pct", error)]
    nd.search(SPACE, objectives, method=method, evaluations=evaluations, seed=seed, **options)
    return np.concatenate(F)


def run(truth: Truth, method: str, options: dict[str, Any], evaluations: int) -> dict[str, Any]:
    """Hypervolumes at several numbers of evaluations, mean and extremes over seeds."""
    began = time.perf_counter()
    at = [n for n in AT if n <= evaluations]
    grown = []
    for seed in SEEDS:
        F = measured(truth, method, options, evaluations, seed)
        grown.append([pareto.hypervolume(F[:n], REFERENCE) for n in at])
    return {
        "mean": dict(zip(map(str, at), np.mean(grown, axis=0).round(1).tolist(), strict=True)),
        "least": dict(zip(map(str, at), np.min(grown, axis=0).round(1).tolist(), strict=True)),
        "most": dict(zip(map(str, at), np.max(grown, axis=0).round(1).tolist(), strict=True)),
        "seconds_a_run": round((time.perf_counter() - began) / len(SEEDS), 2),
    }


def replay() -> dict[str, Any]:
    """The published runs in their own order."""
    found = {}
    for name, file in PUBLISHED_RUNS.items():
        _, accuracy, mmacs = read(file)
        F = np.stack([mmacs, 100 - accuracy], axis=1)
        found[name] = [round(pareto.hypervolume(F[:n], REFERENCE)) for n in AT]
    return {"at": AT, **found, "as_published": all(tuple(found[name]) == PUBLISHED[name] for name in found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--truth", choices=families(), help="a family of your choice")
    wanted = parser.parse_args()
    truth = Truth(wanted.truth)
    told: dict[str, Any] = {
        "benchmark": "linas",
        "architectures": truth.architectures,
        "truth": truth.family,
        "held_out_mae_points": truth.held_out_mae,
        "reference": REFERENCE,
        "seeds": len(SEEDS),
    }
    if wanted.ablations:
        told["ablations"] = {name: run(truth, "linas", EXACT_MACS | own, 250) for name, own in ABLATIONS.items()}
    else:
        runs = {name: run(truth, method, options, 500) for name, (method, options) in METHODS.items()}
        peer = max(own["mean"]["500"] for name, own in runs.items() if name.startswith("nsga2"))
        told |= {
            "hypervolume": runs,
            "linas_150_over_nsga2_500": round(runs["linas"]["mean"]["150"] / peer, 4),
            "replay": replay(),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
