"""Adaptive networks as a run: train as many as it takes to find the best cascade, and ship it.

The run's folder holds::

    networks/       every network that was trained; the same command goes on from them
    cascade.json    the digests of the three that follow
    cascades.csv    the best cascade after each evaluation
    members.csv     the networks of the last: what each is alone, and how much it answers
    thresholds.csv  what other thresholds between them would come to, as far as none is better in both
    bundle/         the last, as it ships
    report.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netdyno.base.errors import InputError
from netdyno.base.files import require_writable
from netdyno.base.progress import Progress, silent
from netdyno.base.result import replace_result
from netdyno.nas.accuracy.evaluated import scores
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.adaptive.answers import Answers, Floats, read_answers
from netdyno.nas.adaptive.bundle import CascadeBundle, ship_cascade
from netdyno.nas.adaptive.cascade import as_arrays, decide
from netdyno.nas.adaptive.execution import METRICS, Link
from netdyno.nas.adaptive.optimise import optimise
from netdyno.nas.adaptive.problem import CascadeProblem, Design, Goal
from netdyno.nas.data import load_data
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.pareto import non_dominated
from netdyno.nas.space import Population, Space
from netdyno.nas.supernets.subnet import Subnet
from netdyno.profiler.table import format_genes, load_table
from netdyno.runs import CASCADE, CASCADES, MEMBERS, NETWORKS, THRESHOLDS, to_csv
from netdyno.targets import COSTS, make_training, split_constraint

BUNDLE = "bundle"


@dataclass(frozen=True)
class Server:
    """Where the last network of a cascade runs: the table of its latencies there, and the way to it."""

    table: Path
    link: Link


class Cascades:
    """Cascades of one space on one table: networks that are trained as they are asked for, and what they cost.

    ``course`` is how the last was found, as :func:`find_cascade` fills it.

    Raises:
        InputError: the table lacks the metric or layers of the space, or a training setting that there is not.
    """

    def __init__(
        self,
        space: Space,
        table: Path,
        out: Path,
        *,
        metric: str = "latency_ms",
        data: str = "digits",
        training: str = "train",
        server: Server | None = None,
        progress: Progress = silent,
    ) -> None:
        self.space, self.metric, self.server, self.out = space, metric, server, out
        self._cost = load_table(table).cost(space, metric)
        self._served = None if server is None else load_table(server.table).cost(space, "latency_ms")
        self._training = make_training(space, training)
        self._name, self._progress = data, progress
        self.course = pd.DataFrame()

    @cached_property
    def _data(self) -> dict[str, Dataset]:
        return {split: load_data(self._name, split) for split in ("train", "val", "test")}

    @cached_property
    def _trained(self) -> TrainedAccuracy:
        images, held, folder = self._data["train"], self._data["val"], self.out / NETWORKS
        return TrainedAccuracy(self.space, images, held, self._training, folder, self._progress)

    def network(self, genes: Population) -> Subnet:
        """One architecture ``(genes,)``, trained."""
        return self._trained.network(self.space.canonical(genes)[0])

    def answers(self, genes: Population, split: str = "val") -> Answers:
        """What an architecture ``(genes,)``, trained, answers to the images of a split."""
        data = self._data[split]
        return read_answers(scores(self.network(genes), data), data.labels)

    def costs(self, X: Population) -> Floats:
        """What an image costs at each network of a cascade ``X (networks, genes)``, ``(networks,)``."""
        costs: Floats = np.array(self._cost(X), np.float64)
        if self.server is not None and self._served is not None:
            costs[-1:] = self.server.link.cost(self.metric, self._served(X[-1:]))
        return costs

    def problem(self, networks: int, goal: Goal) -> CascadeProblem:
        """What is optimised."""
        return CascadeProblem(self.space, networks, self.answers, self.costs, goal)

    def facts(self, design: Design) -> dict[str, Any]:
        """What is known of a cascade: cost, and on images it was chosen on and others, its error and who answers."""
        facts: dict[str, Any] = {self.metric: design.cost, "thresholds": design.thresholds.tolist()}
        for split in ("val", "test"):
            margins, right = as_arrays([self.answers(genes, split) for genes in design.X])
            stops = decide(margins, design.thresholds)
            facts[f"{split}_error_pct"] = 100 * float(1 - right[stops, np.arange(len(stops))].mean())
            facts[f"{split}_answered_pct"] = [100 * float((stops == i).mean()) for i in range(len(design.X))]
        return facts

    def members(self, design: Design, facts: Mapping[str, Any]) -> pd.DataFrame:
        """A row a network: what it is alone, on the images cascades were chosen on, and how much it answers."""
        return pd.DataFrame(
            {
                "genes": list(map(format_genes, design.X)),
                "error_pct": [self.answers(genes).error_pct for genes in design.X],
                self.metric: self.costs(design.X),
                "val_answered_pct": facts["val_answered_pct"],
                "test_answered_pct": facts["test_answered_pct"],
                "threshold": [*design.thresholds.tolist(), 0.0],
            }
        )

    def thresholds(self, design: Design) -> pd.DataFrame:
        """Errors and costs of its networks with other thresholds, those that none beats in both, cheapest first."""
        swept, cost = self.problem(len(design.X), Goal(cost=0.0)).sweep(design.X)
        front = np.stack([swept.error_pct.ravel(), cost.ravel()], axis=1)
        front = front[non_dominated(front)]
        return pd.DataFrame(front[np.argsort(front[:, 1])], columns=["error_pct", self.metric])

    def ship(self, design: Design, formats: list[str]) -> tuple[CascadeBundle, dict[str, Any]]:
        """Write a cascade as a bundle, and beside it how it was found and its alternatives; and its facts."""
        facts = self.facts(design) | ({"last_on_a_server": True} if self.server else {})
        tables = {CASCADES: self.course, MEMBERS: self.members(design, facts), THRESHOLDS: self.thresholds(design)}
        networks = [self.network(genes) for genes in design.X]
        bundle = ship_cascade(
            networks, design.thresholds.tolist(), self.out / BUNDLE, formats, self._data["test"], facts
        )
        self.write(tables)
        return bundle, facts

    def write(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write tables by file name in place of all that an earlier cascade left."""
        replace_result(
            self.out,
            CASCADE,
            {},
            {name: to_csv(rows) for name, rows in tables.items()},
            former=(CASCADES, MEMBERS, THRESHOLDS),
        )


def find_cascade(
    cascades: Cascades,
    networks: int,
    goal: Goal,
    method: str = "bo-plus",
    evaluations: int = 25,
    seed: int = 0,
    progress: Progress = silent,
) -> Design:
    """Optimise, and return the last of the best cascades after each evaluation; ``cascades`` keeps them all.

    Raises:
        InputError: a folder that cannot be written, or no cascade that keeps to the limit.
    """
    require_writable(cascades.out)
    designs = optimise(cascades.problem(networks, goal), method, evaluations, seed, progress)
    rows = [
        {
            "evaluation": number,
            "error_pct": design.error_pct,
            cascades.metric: design.cost,
            "thresholds": " ".join(f"{each:.6g}" for each in design.thresholds),
            "networks": "; ".join(map(format_genes, design.X)),
        }
        for number, design in enumerate(designs, start=1)
    ]
    cascades.course = pd.DataFrame(rows)
    best = designs[-1]
    broken, _ = goal.split(np.array([best.error_pct]), np.array([best.cost]))
    if broken[0] > 0:
        cascades.write({CASCADES: cascades.course})
        found = f"the nearest has an error of {best.error_pct:.2f} % and {cascades.metric} {best.cost:.5g}"
        raise InputError(f"of {len(designs)} cascades none keeps to the limit: {found}")
    return best


def make_goal(text: str, cascades: Cascades) -> Goal:
    """The goal of a limit: ``accuracy>=95``, ``loss<=1`` (points behind the largest network), or ``latency_ms<=0.5``.

    Raises:
        InputError: another limit, or one of a metric that is not what cascades cost here.
    """
    name, sign, limit = split_constraint(text)
    if name.removesuffix("_pct") == "accuracy" and sign == ">=":
        return Goal(error_pct=100 - limit)
    if name == "loss" and sign == "<=":
        return Goal(error_pct=cascades.answers(cascades.space.largest()).error_pct + limit)
    if COSTS.get(name, name) == cascades.metric and sign == "<=":
        return Goal(cost=limit)
    raise InputError(f"a cascade keeps to accuracy>=95, loss<=1 or {cascades.metric}<=…, not {text!r}")


def choose_metric(table: Path, wanted: str) -> str:
    """What cascades cost: what is wanted, or energy where the table has it, else latency.

    Raises:
        InputError: neither latency nor energy is wanted.
    """
    if not wanted:
        return "energy_mj" if load_table(table).layers["energy_mj"].notna().any() else "latency_ms"
    metric = COSTS.get(wanted, wanted)
    if metric not in METRICS:
        raise InputError(f"cascades cost {' or '.join(METRICS)}, not {wanted}")
    return metric
