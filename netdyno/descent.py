"""A differentiable search as a run: descend to an architecture, train it, evaluate it, keep it.

Beside the files of every run (see :mod:`netdyno.runs`) its folder holds::

    descent.pt     where the search stands; the same command goes on from it
    descent.csv    loss, runtime and λ of every step
    leads.csv      how far each part of each layer was ahead of being left out at the end
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
from netdyno.base.files import require_writable
from netdyno.base.progress import Progress, silent
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.search.differentiable.descend import COLUMNS, Descended, Descent, descend
from netdyno.nas.search.differentiable.formulations import make_relaxation, require_superkernels
from netdyno.nas.search.front import Front
from netdyno.nas.space import Population, Space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.nas.supernets.train import Training
from netdyno.profiler.cost.cost import LayerCost
from netdyno.profiler.table import load_table
from netdyno.runs import HISTORY, LEADS, NETWORKS, forget_search, to_csv, write_run
from netdyno.settings import make_settings
from netdyno.targets import COSTS, Targets, split_constraint

CHECKPOINT = "descent.pt"


@dataclass(frozen=True)
class Found:
    """What a differentiable search ends with: genes, the cost that the table predicts, really evaluated accuracy."""

    genes: Population
    metric: str
    cost: float
    accuracy_pct: float
    penalty: float


@dataclass(frozen=True)
class Task:
    """What is searched, by which formulation, on which data, and what of the table is to be kept below ``target``."""

    space: SinglePath
    method: str
    table: Path
    data: str
    constraints: tuple[str, ...]
    seed: int
    target: float | None
    cost: LayerCost

    def descend(self, descent: Descent, out: Path, progress: Progress) -> tuple[Descended, float]:
        """Search, train what was found, and evaluate it on the validation split; in ``out`` it goes on from there."""
        images, held = load_data(self.data, "train"), load_data(self.data, "val")
        identity = json.dumps([self.data, self.cost.name, Targets(self.space, self.table).identity()])
        relaxation = make_relaxation(self.method, self.space, self.cost, self.seed)
        require_writable(out)
        found = descend(relaxation, self.cost, images, descent, progress, out / CHECKPOINT, identity)
        training = Training(
            descent.steps, descent.batch, descent.learning_rate, descent.weight_decay, seed=descent.seed
        )
        trained = TrainedAccuracy(self.space, images, held, training, out / NETWORKS, progress)
        return found, float(trained(found.genes[None])[0])

    def runtime(self, genes: Population) -> float:
        """What the table predicts for one architecture ``(genes,)``."""
        return float(self.cost(genes[None])[0])

    def write(
        self,
        out: Path,
        found: Descended,
        accuracy: float,
        descriptor: Mapping[str, Any],
        others: Mapping[str, bytes] | None = None,
    ) -> Found:
        """Write the run's folder; ``descriptor`` and ``others``, files by name, are what only the caller knows."""
        history = pd.DataFrame(found.history, columns=list(COLUMNS))
        leads = pd.DataFrame(found.leads, index=[group.name for group in self.space.groups]).stack().dropna()
        files = {
            HISTORY: to_csv(history, index=True, index_label="step"),
            LEADS: to_csv(pd.DataFrame({"lead": leads}), index=True, index_label=["layer", "part"]),
        }
        names = (self.cost.name, "error_pct")
        point = np.array([[self.runtime(found.genes), 100.0 - accuracy]])
        front = Front(self.space, names, self.space.canonical(found.genes), point, len(found.history))
        known = {
            "method": self.method,
            "seed": self.seed,
            "objectives": list(names),
            "constraints": list(self.constraints),
            "table": str(self.table.resolve()),
            "supernet": None,
            "networks": NETWORKS,
            "data": self.data,
            "evaluations": len(found.history),
        }
        write_run(out, known | dict(descriptor), front, files | dict(others or {}))
        penalty = float(found.history[-1, COLUMNS.index("penalty")])
        return Found(found.genes, self.cost.name, self.runtime(found.genes), accuracy, penalty)


def make_task(space: Space, method: str, table: Path, *, data: str, constraints: Sequence[str], seed: int) -> Task:
    """A task whose constraint is a limit on what adds up over layers; without one it is the latency, and no limit.

    Raises:
        UnknownName: no such data set.
        InputError: a space that no formulation searches, several constraints, one that is no upper limit, or a table
            without the layers of the space.
    """
    metric, target = "latency_ms", None
    if constraints:
        name, sign, target = split_constraint(constraints[0])
        metric = COSTS.get(name, name)
        if len(constraints) > 1 or sign != "<=" or metric not in ("latency_ms", "energy_mj"):
            raise InputError("a differentiable search keeps to one limit, such as latency_ms<=30 or energy_mj<=5")
    cost = load_table(table).layer_cost(space, metric)
    return Task(require_superkernels(method, space), method, table, data, tuple(constraints), seed, target, cost)


def run_descent(
    task: Task, out: Path, options: Mapping[str, Any], *, fresh: bool = False, progress: Progress = silent
) -> Found:
    """Search, train what was found, evaluate it on the validation split, and write the run's folder.

    With ``fresh``, what an earlier search left there is not gone on from.

    Raises:
        UnknownName: no such method or data set.
        InputError: a setting that cannot be, a limit below the space's fastest network, or another search's folder.
    """
    owner = f"search method {task.method}"
    descent = make_settings(Descent, options, owner, target=task.target, seed=task.seed)
    if fresh:
        (out / CHECKPOINT).unlink(missing_ok=True)
        forget_search(out)
    found, accuracy = task.descend(descent, out, progress)
    return task.write(out, found, accuracy, {"settings": asdict(descent)})
