"""What does λ make of a search? Real single-path searches on digits, each with a λ that stays, and few or many steps.

Each finds an architecture and trains it in as many steps. Writes one row a search, and goes on where it was stopped.

    netdyno profile single-path:width=0.25,resolution=64,classes=10 --out build/single_path/table
    OMP_NUM_THREADS=1 python benchmarks/penalty_runs.py build/single_path/table --out benchmarks/penalty_runs.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from netdyno.base.files import write_atomic
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.search.differentiable.descend import Descent, descend
from netdyno.nas.search.differentiable.formulations import make_relaxation
from netdyno.nas.space import parse_space
from netdyno.nas.supernets.train import Training
from netdyno.profiler.table import load_table

RUNS = {1.0: 12, 0.5: 6, 0.25: 6}
"""Searches by their share of all steps; penalties are spread evenly in the logarithm."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/penalty_runs.csv"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--least", type=float, default=0.01)
    parser.add_argument("--most", type=float, default=0.2)
    options = parser.parse_args()

    table = load_table(options.table)
    space = parse_space(table.conditions["subject"])
    cost = table.cost(space, "latency_ms")
    images, val = (load_data("digits", split) for split in ("train", "val"))
    rows = pd.read_csv(options.out).to_dict("records") if options.out.exists() else []
    done = {(row["steps"], row["seed"]) for row in rows}
    for share, runs in RUNS.items():
        steps = round(share * options.steps)
        for seed, penalty in enumerate(np.geomspace(options.least, options.most, runs).tolist()):
            if (steps, seed) in done:
                continue
            relaxation = make_relaxation("single-path", space, cost, seed)
            found = descend(relaxation, cost, images, Descent(steps=steps, penalty=penalty, seed=seed))
            accuracy = TrainedAccuracy(space, images, val, Training(steps, seed=seed))
            row = {"penalty": round(penalty, 6), "steps": steps, "seed": seed}
            row["latency_ms"] = round(float(cost(found.genes[None])[0]), 5)
            row["accuracy_pct"] = round(float(accuracy(found.genes[None])[0]), 3)
            rows.append(row)
            write_atomic(options.out, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
