"""Do kernels within a superkernel do as well as kernels that are trained for themselves?

Networks all of one kind, 3×3 or 5×5 at either expansion, are trained each for itself, and read from a superkernel
that was trained as long, with parts left out at random and its architecture at rest. Prints one JSON line; killed,
the same command goes on. Source: Stamoulis 2020, Table 5.2.

    netdyno profile single-path:width=0.25,resolution=64,classes=10 --out build/single_path/table
    OMP_NUM_THREADS=1 python benchmarks/kernel_subsets.py build/single_path/table --out build/kernel_subsets
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from netdyno.nas.accuracy.evaluated import evaluate_network
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.search.differentiable.descend import Descent, descend
from netdyno.nas.search.differentiable.formulations import make_relaxation
from netdyno.nas.search.differentiable.single_path import GatedPath
from netdyno.nas.space import parse_space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.nas.supernets.train import Training
from netdyno.profiler.table import load_table

KINDS = ("3x3-e3", "3x3-e6", "5x5-e3", "5x5-e6")
SPLITS = ("val", "test")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/kernel_subsets"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dropout", type=float, default=0.5, help="probability that a part is left out of a step")
    options = parser.parse_args()

    table = load_table(options.table)
    space = parse_space(table.conditions["subject"])
    assert isinstance(space, SinglePath)
    data = {split: load_data("digits", split) for split in ("train", *SPLITS)}
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        cost = table.cost(space, "latency_ms")
        relaxation = make_relaxation("single-path", space, cost, seed)
        assert isinstance(relaxation, GatedPath)
        at_rest = Descent(steps=options.steps, warm_up=1.0, dropout=options.dropout, seed=seed)
        descend(relaxation, cost, data["train"], at_rest, keep=options.out / f"superkernel-{seed}.pt")
        training = Training(options.steps, seed=seed)
        alone = TrainedAccuracy(space, data["train"], data["val"], training, options.out / f"alone-{seed}")
        for kind in KINDS:
            genes = space.uniform(kind)
            networks = {"alone": alone.network(genes)}
            networks["superkernel"] = relaxation.supernet.extract(genes, data["train"])
            rows += [
                {"seed": seed, "kind": kind, "trained": trained}
                | {split: evaluate_network(network, data[split]) for split in SPLITS}
                for trained, network in networks.items()
            ]
            print(json.dumps(rows[-2:]), file=sys.stderr, flush=True)
    print(json.dumps({"benchmark": "kernel_subsets", "steps": options.steps, **told(rows)}))


def told(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy by kind and by how it was trained: mean and spread over seeds, in percent."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        for trained in ("alone", "superkernel"):
            own = [row for row in rows if (row["kind"], row["trained"]) == (kind, trained)]
            found[f"{kind}, {trained}"] = {
                split: {
                    "mean_pct": round(float(np.mean([row[split] for row in own])), 2),
                    "spread": round(float(np.std([row[split] for row in own], ddof=1)), 2) if len(own) > 1 else None,
                }
                for split in SPLITS
            }
    return found


if __name__ == "__main__":
    main()
