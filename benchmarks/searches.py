"""How do random search, Once-for-All's and OFA² compare on the demo, and do OFA²'s winners keep what was predicted?

All search this machine's table and the demo's supernet with as many evaluations; Once-for-All's search spends a tenth
of them under each of ten limits, which are the latencies of OFA²'s winners. The three runs are drawn on one page
(OUT/searches.html). OFA²'s ten winners are really measured: latency on the device, accuracy on the validation split,
beside the errors that the table and the predictor state of themselves. Latencies are told with the drift taken off
that the table's own networks show in the same rounds. Prints one JSON line.

    netdyno demo --out demo && python benchmarks/searches.py demo --out build/searches
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import netdyno as nd
from netdyno.base.objective import Constraint, Objective
from netdyno.compare import compare_runs
from netdyno.demo import ACCURACIES, DATA, read_accuracies
from netdyno.devices import Settings, open_device
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.accuracy.predictor import fit_accuracy
from netdyno.nas.data import load_data
from netdyno.nas.pareto import non_dominated
from netdyno.nas.search.front import Front
from netdyno.nas.space import parse_genes
from netdyno.nas.supernets.store import load_supernet
from netdyno.profiler.measure import Method
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.statistics import NORMAL_95
from netdyno.profiler.table import load_table
from netdyno.profiler.validation import MEAN_TO_DEVIATION
from netdyno.remeasure import remeasure
from netdyno.report.comparison import write_comparison
from netdyno.runs import load_run, spread, write_run

WINNERS = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo"))
    parser.add_argument("--out", type=Path, default=Path("build/searches"))
    parser.add_argument("--evaluations", type=int, default=20_000)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for measuring the winners")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    supernet, _ = load_supernet(options.folder / "supernet")
    space = supernet.space
    table = load_table(options.folder / "tables/onnxruntime")
    cost = table.cost(space, "latency_ms")
    known = read_accuracies(options.folder / ACCURACIES, space)
    X = np.array([parse_genes(space, text) for text in known])
    predictor = fit_accuracy(space, X, np.array(list(known.values())), seed=0)
    objectives = [cost.minimize(), predictor.maximize()]

    fronts = {
        method: nd.search(space, objectives, method, options.evaluations, options.seed)
        for method in ("random", "ofa2")
    }
    best = fronts["ofa2"]
    winners = best.X[spread(best, WINNERS)]
    limits = [cost.at_most(float(limit)) for limit in cost(winners)]
    fronts["ofa"] = under_limits(objectives, limits, options.evaluations, options.seed, best)

    for method, front in fronts.items():
        write_run(
            options.out / method, {"method": method, "seed": options.seed, "evaluations": front.evaluations}, front
        )
    compared = compare_runs([load_run(options.out / method) for method in fronts])
    write_comparison(compared, options.out / "searches.html")

    train, val, test = (load_data(DATA, split) for split in ("train", "val", "test"))
    with open_device("cpu") as device:
        found = remeasure(
            winners,
            table=table,
            predicted=predictor,
            evaluated=EvaluatedAccuracy(supernet, val, train),
            test=EvaluatedAccuracy(supernet, test, train),
            run=Profiling(device, Settings("onnxruntime"), Method(budget_s=options.budget, memory=False)),
        )
    rows, errors = found.rows, found.latency_error_pct
    latency, low, high = rows["latency_ms"].to_numpy() / found.drift, *cost.interval(winners).T
    accuracy_error = rows["accuracy_pct_predicted"] - rows["accuracy_pct"]
    half = NORMAL_95 * predictor.cv_mae / MEAN_TO_DEVIATION
    stated = table.conditions["validation"]["latency_ms"]["unseen"]["calibrated"]
    result: dict[str, Any] = {
        "benchmark": "searches",
        "evaluations": options.evaluations,
        "of_joint_hypervolume": {row.method: round(row.share, 4) for row in compared.rows},
        "accuracy_under_limits_pct": {
            "limits_ms": [round(limit.limit, 4) for limit in limits],
            "ofa": at_limits(fronts["ofa"], limits),
            "ofa2": at_limits(best, limits),
            "random": at_limits(fronts["random"], limits),
        },
        "winners": len(winners),
        "latency": {
            "stated_mape_pct": stated["mape_pct"],
            "reached_mape_pct": float(np.abs(errors).mean()),
            "within_stated_95_pct_interval": int(((low <= latency) & (latency <= high)).sum()),
            "error_pct": errors.round(2).tolist(),
            "drift_pct": 100 * (found.drift - 1),
            "mape_pct_of_the_table_s_unseen_networks_again": float(np.abs(found.anchor_error_pct).mean()),
        },
        "accuracy": {
            "stated_mae_points": predictor.cv_mae,
            "reached_mae_points": float(accuracy_error.abs().mean()),
            "within_stated_95_pct_interval": int((accuracy_error.abs() <= half).sum()),
            "error_points": accuracy_error.round(2).tolist(),
        },
    }
    print(json.dumps(result))


def under_limits(
    objectives: list[Objective], limits: list[Constraint], evaluations: int, seed: int, like: Front
) -> Front:
    """The front that Once-for-All's searches under each limit find together."""
    spent, X, growth = 0, [], []
    for limit in limits:
        found = nd.search(like.space, objectives[1:], "ofa", evaluations // len(limits), seed, constraints=[limit])
        spent += found.evaluations
        F = np.stack([objective.evaluate(found.X) for objective in objectives], axis=1)
        X.append(found.X)
        growth.append(np.column_stack([np.full(len(F), spent), F]))
    every, rows = np.concatenate(X), np.concatenate(growth)
    kept = non_dominated(rows[:, 1:])
    kept = kept[np.argsort(rows[kept, 1])]
    return Front(like.space, like.objectives, every[kept], rows[kept, 1:], spent, rows)


def at_limits(front: Front, limits: list[Constraint]) -> list[float | None]:
    """The best predicted accuracy in percent under each limit; None where nothing keeps to it."""
    kept = [front.F[front.F[:, 0] <= limit.limit * (1 + 1e-9), 1] for limit in limits]
    return [round(100 - float(F.min()), 2) if len(F) else None for F in kept]


if __name__ == "__main__":
    main()
