"""What do HyperPower's hyperparameters make of a training? Random networks of cnn-cifar10 on digits, each trained.

Each by its own recipe, to its end even where that leads nowhere. Writes one row a network, and goes on where it was
stopped.

    OMP_NUM_THREADS=1 python benchmarks/training_runs.py --out benchmarks/training_runs.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from netdyno.base.files import write_atomic
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.space import parse_space
from netdyno.nas.supernets.sgd import Sgd
from netdyno.profiler.table import format_genes

SPACE = "cnn-cifar10:resolution=16,classes=10"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("benchmarks/training_runs.csv"))
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()

    space = parse_space(SPACE)
    rows = pd.read_csv(options.out).to_dict("records") if options.out.exists() else []
    accuracy = TrainedAccuracy(
        space, load_data("digits", "train"), load_data("digits", "val"), Sgd(options.steps, patience=1.0)
    )
    for genes in space.sample(options.runs, seed=0)[len(rows) :]:
        error = 100 - accuracy(genes[None])[0]
        course = accuracy.courses[genes.tobytes()]
        row = {"genes": format_genes(genes), "error_pct": round(error, 3), "seconds": round(course.seconds, 2)}
        rows.append(row)
        write_atomic(options.out, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
