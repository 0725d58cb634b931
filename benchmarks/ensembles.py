"""Does evolution form better ensembles than manual sampling does, in the four scenarios?

Predicts both splits with a pool of the demo's subnets, half of them at most from its front, the others random; each
seed takes three quarters of the pool. Ensembles are chosen on the validation split; the hypervolumes of the chosen
ones are on that split and on the test split, as shares of a box up to the slowest manual ensemble and the worst
subnet. ``single`` is the front of the subnets alone, ``random`` that of as many random ensembles as evolution may
ask for, where manual sampling has 43, ``warm`` evolution that begins with the manual ensembles.
Latencies are those of the demo's table. Prints one JSON line; predictions are kept in build/predictions.

    netdyno demo --out demo && python benchmarks/ensembles.py demo
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from netdyno.demo import DATA
from netdyno.ensembles import pool_of
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.ensembles.ensemble import TOGETHER, EnsembleLatency, Together, sample
from netdyno.nas.ensembles.evolve import EnsembleFront, evolve_ensembles, front_of
from netdyno.nas.ensembles.manual import manual_ensembles
from netdyno.nas.ensembles.predictions import Predictions, predict
from netdyno.nas.ensembles.vote import VOTINGS, VotedAccuracy, Voting
from netdyno.nas.pareto import hypervolume
from netdyno.nas.supernets.store import load_supernet
from netdyno.profiler.table import load_table
from netdyno.runs import load_run

SPLITS = ("val", "test")
SEED = 20_262
PARTS = Path("build/predictions")
METHODS = ("single", "manual", "random", "evolved", "warm")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo"))
    parser.add_argument("--pool", type=int, default=100)
    parser.add_argument("--classes", type=int, default=5, help="classes of an image that are kept")
    parser.add_argument("--evaluations", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    began = time.perf_counter()
    predictions = make_predictions(options.folder, options.pool, options.classes)
    predicted = time.perf_counter()
    space = load_supernet(options.folder / "supernet")[0].space
    latency = load_table(options.folder / "tables/onnxruntime").cost(space, "latency_ms")(predictions["val"].X)
    generator = np.random.default_rng(SEED)
    subsets = [np.sort(generator.permutation(len(latency))[: 3 * len(latency) // 4]) for _ in range(options.seeds)]
    scenarios = {
        f"{voting}, {together}": summary(
            [
                compare(
                    {s: p.subset(rows) for s, p in predictions.items()},
                    latency[rows],
                    voting,
                    together,
                    seed,
                    options,
                )
                for seed, rows in enumerate(subsets)
            ]
        )
        for voting, together in product(VOTINGS, TOGETHER)
    }
    result = {
        "benchmark": "ensembles",
        "pool": len(latency),
        "pool_of_a_seed": len(subsets[0]),
        "seeds": options.seeds,
        "evaluations": options.evaluations,
        "subnet_error_pct": {
            s: [100 - p.accuracy_pct.max(), 100 - p.accuracy_pct.min()] for s, p in predictions.items()
        },
        "predictions_bytes": predictions["val"].nbytes,
        "seconds": {"predict": predicted - began, "search": time.perf_counter() - predicted},
        "scenarios": scenarios,
    }
    print(json.dumps(result))


def make_predictions(folder: Path, size: int, k: int) -> dict[str, Predictions]:
    """Of the same pool on both splits."""
    supernet, _ = load_supernet(folder / "supernet")
    X = pool_of(load_run(folder), size, SEED)
    train = load_data(DATA, "train")
    sources = {split: EvaluatedAccuracy(supernet, load_data(DATA, split), train) for split in SPLITS}
    return {split: predict(source, X, k, parts=PARTS) for split, source in sources.items()}


def compare(
    predictions: dict[str, Predictions],
    latency: NDArray[np.float64],
    voting: Voting,
    together: Together,
    seed: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One seed of one scenario, by split and method: hypervolume, and the error of the one best on validation."""
    cost = EnsembleLatency(latency, together).minimize()
    objectives = {split: [cost, VotedAccuracy(p, voting).maximize()] for split, p in predictions.items()}
    pool, val = len(latency), objectives["val"]
    alone = np.stack([latency, 100 - predictions["val"].accuracy_pct], axis=1)
    manual = manual_ensembles(alone)
    fronts: dict[str, EnsembleFront] = {
        "single": front_of(np.arange(pool)[:, None], val),
        "manual": front_of(manual, val),
        "random": front_of(sample(options.evaluations, pool, np.random.default_rng(seed)), val),
        "evolved": evolve_ensembles(pool, val, options.evaluations, seed),
        "warm": evolve_ensembles(pool, val, options.evaluations, seed, start=manual),
    }
    found: dict[str, Any] = {}
    for split, (time_of, error_of) in objectives.items():
        ref = [float(cost.evaluate(manual).max()), float(100 - predictions[split].accuracy_pct.min())]
        for method, front in fronts.items():
            F = np.stack([time_of.evaluate(front.members), error_of.evaluate(front.members)], axis=1)
            found[split, method] = hypervolume(F, ref) / np.prod(ref), F[front.F[:, 1].argmin(), 1]
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and paired differences of hypervolume with 95 % intervals (the pools overlap)."""
    table: dict[str, Any] = {}
    for split in SPLITS:
        values = {method: np.array([run[split, method] for run in runs]) for method in METHODS}
        table[split] = {
            "hypervolume": {method: float(v[:, 0].mean()) for method, v in values.items()},
            "error_pct": {method: float(v[:, 1].mean()) for method, v in values.items()},
        }
        for method, peer in (("evolved", "manual"), ("warm", "manual"), ("evolved", "random")):
            difference = values[method][:, 0] - values[peer][:, 0]
            n = len(difference)
            half = t.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
            table[split][f"{method}_less_{peer}"] = {
                "mean": float(difference.mean()),
                "interval": None if n < 2 else [float(difference.mean() - half), float(difference.mean() + half)],
                "wins": int((difference > 0).sum()),
            }
    return table


if __name__ == "__main__":
    main()
