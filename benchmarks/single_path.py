"""Do differentiable searches land on their targets, ahead of random search, and are they as fast as predicted?

For three targets between the fastest and the largest network of the table, and for each seed, the single-path search
finds an architecture and trains it; random search with rejection trains as many networks of at most that latency,
and at least 95 % of it, as there are epochs for (two), and keeps the one that is best on the validation images. All
that were found are really measured, among the table's own networks, which tell the machine's drift. Accuracies are
compared in pairs, target by target and seed by seed. Prints one JSON line; killed, the same command goes on.

    netdyno profile single-path:width=0.25,resolution=64,classes=10 --out build/single_path/table
    python benchmarks/single_path.py build/single_path/table --out build/single_path
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from netdyno.descent import make_task, run_descent
from netdyno.devices import Settings, open_device
from netdyno.nas.accuracy.evaluated import evaluate_network
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.search import search
from netdyno.nas.search.differentiable.runtime import fastest
from netdyno.nas.space import Space, parse_genes, parse_space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.nas.supernets.subnet import Subnet
from netdyno.nas.supernets.train import Training
from netdyno.profiler.measure import Method
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import LookupTable, format_genes, load_table
from netdyno.remeasure import Remeasured, measure_again
from netdyno.runs import NETWORKS

SPLITS = ("val", "test")
DATA = "digits"
SHARES = (0.25, 0.5, 0.75)
"""Where targets lie between the fastest and the largest network, in the logarithm."""
NARROW = 0.95


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/single_path"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for measuring what was found")
    options = parser.parse_args()

    table = load_table(options.table)
    space = parse_space(table.conditions["subject"])
    cost = table.cost(space, "latency_ms")
    assert isinstance(space, SinglePath)
    least, most = cost(np.stack([fastest(cost, space), space.largest()]))
    targets = [round(float(least * (most / least) ** share), 4) for share in SHARES]
    data = {split: load_data(DATA, split) for split in ("train", "val", "test")}
    rows: list[dict[str, Any]] = []
    networks: dict[str, Subnet] = {}
    for target, seed in product(targets, range(options.seeds)):
        folder = options.out / f"{target:g}-{seed}"
        training = Training(options.steps, seed=seed)
        trained = TrainedAccuracy(space, data["train"], data["val"], training, folder / NETWORKS)
        limit = [f"latency_ms<={target}"]
        task = make_task(space, "single-path", options.table, data=DATA, constraints=limit, seed=seed)
        found = run_descent(task, folder, {"steps": options.steps})
        band = [cost.at_most(target), cost.at_least(NARROW * target)]
        random = search(space, [trained.maximize()], "rejection", 2, seed, constraints=band).X[0]
        row: dict[str, Any] = {"target_ms": target, "seed": seed, "predicted_ms": found.cost}
        for method, genes in (("single_path", found.genes), ("random", random)):
            network = trained.network(genes)
            row[method] = {split: evaluate_network(network, data[split]) for split in SPLITS}
            networks[format_genes(genes)] = network
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    with open_device("cpu") as device:
        run = Profiling(device, Settings("onnxruntime"), Method(budget_s=options.budget, memory=False))
        graphs = {name: network.graph() for name, network in networks.items()}
        again = measure_again(graphs, table=table, space=space, run=run)
    print(
        json.dumps(
            {"benchmark": "single_path", "steps": options.steps, **told(rows), **measured(table, space, again)}
        )
    )


def told(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How far from the targets, and how far ahead of random search, in all and at each target."""
    targets = sorted({row["target_ms"] for row in rows})
    off = [100 * (row["predicted_ms"] / row["target_ms"] - 1) for row in rows]

    def ahead(split: str, among: Iterable[float]) -> dict[str, Any]:
        return paired([r["single_path"][split] - r["random"][split] for r in rows if r["target_ms"] in among])

    return {
        "targets_ms": targets,
        "off_target_pct": np.round(off, 2).tolist(),
        "accuracy_pct": {
            f"{method}, {split}": [round(row[method][split], 2) for row in rows]
            for method, split in product(("single_path", "random"), SPLITS)
        },
        "ahead_of_random_points": {
            split: {"all": ahead(split, targets)} | {f"{target:g}": ahead(split, [target]) for target in targets}
            for split in SPLITS
        },
    }


def paired(differences: list[float]) -> dict[str, Any]:
    """Mean of paired differences, and its 95 % interval by Student's t."""
    d = np.array(differences)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5
    return {"mean": round(d.mean(), 2), "interval": [round(d.mean() - half, 2), round(d.mean() + half, 2)]}


def measured(table: LookupTable, space: Space, again: Remeasured) -> dict[str, Any]:
    """How far predicted latencies are from those measured, the machine's drift taken off."""
    X = np.array([parse_genes(space, name) for name in again.rows.index])
    latency, (low, high) = again.rows["latency_ms"] / again.drift, table.cost(space, "latency_ms").interval(X).T
    return {
        "latency": {
            "networks": len(X),
            "stated_mape_pct": table.conditions["validation"]["latency_ms"]["unseen"]["calibrated"]["mape_pct"],
            "reached_mape_pct": float(np.abs(again.latency_error_pct).mean()),
            "within_stated_95_pct_interval": int(((low <= latency) & (latency <= high)).sum()),
            "error_pct": again.latency_error_pct.round(2).tolist(),
            "drift_pct": 100 * (again.drift - 1),
            "mape_pct_of_the_table_s_unseen_networks_again": float(np.abs(again.anchor_error_pct).mean()),
        }
    }


if __name__ == "__main__":
    main()
