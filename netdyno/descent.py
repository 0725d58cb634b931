"""A differentiable search as a run: descend to an architecture, train it, evaluate it, keep it.

Beside the files of every run (see :mod:`netdyno.runs`) its folder holds::

    descent.pt     where the search stands; the same command goes on from it
    descent.csv    loss, runtime and λ of every step
    networks/      the architecture that was found, trained
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netdyno.base.errors import InputError
from netdyno.base.files import require_writable, write_atomic
from netdyno.base.progress import Progress, silent
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.search.differentiable.descend import COLUMNS, Descended, Descent, descend
from netdyno.nas.search.differentiable.formulations import make_relaxation
from netdyno.nas.search.front import Front
from netdyno.nas.space import Population, Space
from netdyno.nas.supernets.train import Training
from netdyno.profiler.cost.cost import LayerCost
from netdyno.profiler.table import load_table
from netdyno.runs import NETWORKS, write_run
from netdyno.settings import make_settings
from netdyno.targets import COSTS, Targets, split_constraint

CHECKPOINT, HISTORY = "descent.pt", "descent.csv"


@dataclass(frozen=True)
class Found:
    """What a differentiable search ends with: genes, the cost that the table predicts, really evaluated accuracy."""

    genes: Population
    metric: str
    cost: float
    accuracy_pct: float
    penalty: float


def limit_of(constraints: Sequence[str]) -> tuple[str, float | None]:
    """The cost that is kept to and its limit; without constraints the latency, and none.

    Raises:
        InputError: several constraints, or one that is no upper limit on what adds up over layers.
    """
    if not constraints:
        return "latency_ms", None
    name, sign, limit = split_constraint(constraints[0])
    metric = COSTS.get(name, name)
    if len(constraints) > 1 or sign != "<=" or metric not in ("latency_ms", "energy_mj"):
        raise InputError("a differentiable search keeps to one limit, such as latency_ms<=30 or energy_mj<=5")
    return metric, limit


def run_descent(
    space: Space,
    method: str,
    table: Path,
    out: Path,
    *,
    data: str,
    constraints: Sequence[str],
    options: Mapping[str, Any],
    seed: int,
    fresh: bool = False,
    progress: Progress = silent,
) -> Found:
    """Search, train what was found, evaluate it on the validation split, and write the run's folder.

    With ``fresh``, what an earlier search left there is not gone on from.

    Raises:
        UnknownName: no such method or data set.
        InputError: a setting or constraint that cannot be, a table without the layers of the space, or another
            search's folder.
    """
    metric, target = limit_of(constraints)
    descent = make_settings(Descent, options, f"search method {method}", target=target, seed=seed)
    cost = load_table(table).cost(space, metric)
    images, held = load_data(data, "train"), load_data(data, "val")
    identity = json.dumps([data, metric, Targets(space, table).identity()])
    relaxation = make_relaxation(method, space, cost, seed)
    require_writable(out)
    if fresh:
        (out / CHECKPOINT).unlink(missing_ok=True)
    found = descend(relaxation, cost, images, descent, progress, out / CHECKPOINT, identity)
    training = Training(descent.steps, descent.batch, descent.learning_rate, descent.weight_decay, seed=descent.seed)
    trained = TrainedAccuracy(space, images, held, training, out / NETWORKS, progress)
    accuracy = float(trained(found.genes[None])[0])
    predicted = float(cost(found.genes[None])[0])
    _write(
        out,
        found,
        cost,
        accuracy,
        descriptor={
            "method": method,
            "settings": asdict(descent),
            "seed": seed,
            "objectives": [metric, "error_pct"],
            "constraints": list(constraints),
            "table": str(table.resolve()),
            "supernet": None,
            "networks": NETWORKS,
            "data": data,
        },
        space=space,
    )
    return Found(found.genes, metric, predicted, accuracy, float(found.history[-1, COLUMNS.index("penalty")]))


def _write(
    out: Path, found: Descended, cost: LayerCost, accuracy: float, *, descriptor: dict[str, Any], space: Space
) -> None:
    history = pd.DataFrame(found.history, columns=list(COLUMNS))
    write_atomic(out / HISTORY, history.to_csv(index_label="step", lineterminator="\n"))
    point = np.array([[float(cost(found.genes[None])[0]), 100.0 - accuracy]])
    front = Front(space, (cost.name, "error_pct"), space.canonical(found.genes), point, len(found.history))
    write_run(out, descriptor | {"evaluations": len(found.history)}, front)
