"""How much do searches of each formulation differ, from run to run and within a run?

Every formulation, and random search with rejection, searches with each seed for the same target. From run to run:
the spread of what was found over the seeds. Within a run: the spread of three architectures among which it stood at
the end, in the last tenth of its steps (of random search those that it trained). All are trained alike. Prints one
JSON line; killed, the same command goes on.

    netdyno profile single-path:width=0.25,resolution=32,classes=10 --out build/formulations/table
    OMP_NUM_THREADS=1 python benchmarks/formulations.py build/formulations/table --out build/formulations
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from netdyno.base.objective import Objective
from netdyno.descent import Task, make_task
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.search import search
from netdyno.nas.search.differentiable import FORMULATIONS
from netdyno.nas.search.differentiable.descend import Descent
from netdyno.nas.search.differentiable.runtime import fastest
from netdyno.nas.space import Population, parse_space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.nas.supernets.train import Training
from netdyno.profiler.table import load_table
from netdyno.runs import NETWORKS

NAMES = ("accuracy_pct", "latency_ms")
STOOD = 3
NARROW = 0.95
RANDOM = "rejection"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/formulations"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.5, help="of the target, between fastest and largest")
    options = parser.parse_args()

    table = load_table(options.table)
    space = parse_space(table.conditions["subject"])
    assert isinstance(space, SinglePath)
    cost = table.cost(space, "latency_ms")
    least, most = cost(np.stack([fastest(cost, space), space.largest()]))
    target = round(float(least * (most / least) ** options.share), 4)
    result: dict[str, Any] = {"benchmark": "formulations", "target_ms": target, "steps": options.steps}
    for method in (*FORMULATIONS.names(), RANDOM):
        found, within = [], []
        for seed in range(options.seeds):
            limit = [f"latency_ms<={target}"]
            name = "single-path" if method == RANDOM else method
            task = make_task(space, name, options.table, data="digits", constraints=limit, seed=seed)
            X = stood(task, method, options.steps, options.out / f"{method}-{seed}")
            images, val = (load_data("digits", split) for split in ("train", "val"))
            training = Training(options.steps, seed=seed)
            accuracy = TrainedAccuracy(space, images, val, training, options.out / f"{method}-{seed}" / NETWORKS)
            points = np.stack([accuracy(X), cost(X)], axis=1)
            found.append(points[points[:, 0].argmax()] if method == RANDOM else points[0])
            within.append(points.std(axis=0, ddof=1) if len(points) > 1 else np.zeros(2))
        points, spread = np.array(found), np.mean(within, axis=0)
        result[method] = {
            "found": {name: column.round(5).tolist() for name, column in zip(NAMES, points.T, strict=True)},
            "spread_between_runs": dict(zip(NAMES, points.std(axis=0, ddof=1).round(5).tolist(), strict=True)),
            "spread_within_a_run": dict(zip(NAMES, spread.round(5).tolist(), strict=True)),
        }
        print(json.dumps({method: result[method]}), file=sys.stderr, flush=True)
    print(json.dumps(result))


def stood(task: Task, method: str, steps: int, out: Path) -> Population:
    """What was found, and others among which the search stood at its end; of random search all that it trained."""
    assert task.target is not None
    if method == RANDOM:
        limits = [task.cost.at_most(task.target), task.cost.at_least(NARROW * task.target)]
        asked: list[Population] = []

        def note(X: Population) -> Any:
            asked.extend(X)
            return task.space.macs(X)

        search(task.space, [Objective("macs", note)], "rejection", 2, task.seed, constraints=limits)
        return np.array(asked)
    found, _ = task.descend(Descent(steps=steps, target=task.target, seed=task.seed), out, lambda *_: None)
    late = np.unique(found.architectures[-max(steps // 10, 1) :], axis=0)
    others = late[(late != found.genes).any(axis=1)]
    chosen = np.random.default_rng(task.seed).permutation(len(others))[: STOOD - 1]
    return np.concatenate([found.genes[None], others[chosen]])


if __name__ == "__main__":
    main()
