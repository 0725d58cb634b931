"""Ensembles of a run's subnets: a pool about its front, what the pool answers, and the best of it together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.files import require_writable, write_atomic
from netdyno.base.progress import Progress, silent
from netdyno.base.ranges import EVALUATIONS, POOL, SEED
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.data import load_data
from netdyno.nas.ensembles.bundle import EnsembleBundle, ship_ensemble
from netdyno.nas.ensembles.ensemble import EnsembleLatency, Together, count
from netdyno.nas.ensembles.evolve import EnsembleFront, evolve_ensembles
from netdyno.nas.ensembles.predictions import Predictions, predict
from netdyno.nas.ensembles.vote import VotedAccuracy, Voting
from netdyno.nas.space import Population
from netdyno.nas.supernets.store import load_supernet
from netdyno.profiler.table import format_genes, load_table
from netdyno.runs import Run, spread

ENSEMBLES = "ensembles.csv"
BUNDLE = "bundle"
PARTS = "predictions"


@dataclass(frozen=True)
class Scenario:
    """How members vote, and whether they run one after another (``sum``) or all at once (``max``)."""

    voting: Voting = "soft"
    latency: Together = "sum"


class Pool:
    """Subnets of a run's supernet, half of them at most from its front, the others random.

    Raises:
        InputError: the run was searched without a table or without a supernet.
    """

    def __init__(self, run: Run, size: int, seed: int, scenario: Scenario) -> None:
        table, supernet = run.resolve("table"), run.resolve("supernet")
        if table is None or supernet is None:
            raise InputError(f"{run.path}: was searched without a table or a supernet; an ensemble needs both")
        self.scenario = scenario
        self.X = pool_of(run, size, seed)
        self._supernet, descriptor = load_supernet(supernet)
        self._data = str(descriptor.get("data", "digits"))
        self._latency = EnsembleLatency(load_table(table).cost(run.space, "latency_ms")(self.X), scenario.latency)

    def evaluated(self, split: str) -> EvaluatedAccuracy:
        """Subnets on a split of the data that the supernet was trained on."""
        return EvaluatedAccuracy(self._supernet, load_data(self._data, split), load_data(self._data, "train"))

    def form(
        self, predictions: Predictions, evaluations: int, seed: int, progress: Progress = silent
    ) -> EnsembleFront:
        """The front of latency and error on the images of ``predictions``."""
        objectives = [self._latency.minimize(), VotedAccuracy(predictions, self.scenario.voting).maximize()]
        return evolve_ensembles(len(self.X), objectives, evaluations, seed, progress=progress)

    def ship(
        self, members: NDArray[np.int64], out: Path, formats: list[str]
    ) -> tuple[EnsembleBundle, dict[str, Any]]:
        """Write one ensemble ``(seats,)`` as a bundle; its facts: latency, and accuracy on two splits."""
        chosen = members[members >= 0]
        facts = {
            "latency_ms": {"predicted": float(self._latency(members[None])[0])},
            "accuracy_pct": {"measured": self._voted(chosen, "val"), "test": self._voted(chosen, "test")},
        }
        evaluated, data = self.evaluated("val"), load_data(self._data, "test")
        subnets = [evaluated.subnet(self.X[member]) for member in chosen]
        voting, latency = self.scenario.voting, self.scenario.latency
        return ship_ensemble(subnets, out, formats, voting, latency, data, facts), facts

    def _voted(self, members: NDArray[np.int64], split: str) -> float:
        """Accuracy in percent of all of ``members (n,)`` together."""
        answers = predict(self.evaluated(split), self.X[members])
        return float(VotedAccuracy(answers, self.scenario.voting)(np.arange(len(members))[None])[0])


def pool_of(run: Run, size: int, seed: int) -> Population:
    """``size`` architectures ``(size, genes)``, each once: at most half of them evenly from the front."""
    drawn = run.space.canonical(run.space.sample(2 * size, seed))
    X = np.concatenate([run.front.X[spread(run.front, size // 2)], drawn])
    return X[np.sort(np.unique(X, axis=0, return_index=True)[1])][:size]


def form_ensembles(
    run: Run,
    out: Path,
    size: int = 100,
    scenario: Scenario | None = None,
    evaluations: int = 5000,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Pool, EnsembleFront]:
    """Form ensembles of a run's subnets by evolution on the validation split, and write them to a folder.

    What each subnet answers is kept there as it is computed: the same call again goes on.

    Raises:
        InputError: no table, no supernet, a number out of its range, or a folder that cannot be written.
    """
    for numbers, value in ((POOL, size), (EVALUATIONS, evaluations), (SEED, seed)):
        numbers.check(value)
    require_writable(out)
    pool = Pool(run, size, seed, Scenario() if scenario is None else scenario)
    classes = min(5, run.space.classes)
    predictions = predict(pool.evaluated("val"), pool.X, classes, parts=out / PARTS, progress=progress)
    front = pool.form(predictions, evaluations, seed, progress)
    rows = pd.DataFrame(front.F, columns=list(front.objectives))
    rows.insert(0, "size", count(front.members))
    rows["members"] = ["; ".join(format_genes(pool.X[i]) for i in row[row >= 0]) for row in front.members]
    write_atomic(out / ENSEMBLES, rows.to_csv(index=False, lineterminator="\n"))
    return pool, front
