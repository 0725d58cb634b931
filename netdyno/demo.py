"""The whole road on this machine: profile, train, search, measure, ship, report.

Every stage leaves its result in the folder, so that the same command again goes on where it stopped.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netdyno.base.errors import CheckFailed, InputError
from netdyno.base.files import require_writable, write_atomic
from netdyno.base.folders import require_replaceable
from netdyno.base.progress import Progress, silent
from netdyno.base.rows import read_rows
from netdyno.devices import Device, Settings, open_device
from netdyno.exporters.bundle import load_bundle, verify_bundle
from netdyno.exporters.verify import Verification
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.accuracy.predictor import FittedAccuracy, fit_accuracy
from netdyno.nas.data import load_data
from netdyno.nas.search import search
from netdyno.nas.ship import ship
from netdyno.nas.space import Space, format_space, make_space, parse_genes
from netdyno.nas.supernets.store import load_supernet, make_supernet, save_supernet
from netdyno.nas.supernets.supernet import Supernet
from netdyno.nas.supernets.train import Training, train_supernet
from netdyno.profiler.measure import Method
from netdyno.profiler.profile import profile_space
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import DESCRIPTOR as TABLE
from netdyno.profiler.table import LookupTable, format_genes, load_table
from netdyno.remeasure import remeasure
from netdyno.report import write_report
from netdyno.runs import (
    BUNDLES,
    FRONT,
    GROWTH,
    MEASURED,
    REPORT,
    Run,
    load_run,
    pick_winners,
    spread,
    write_measured,
    write_run,
)
from netdyno.runs import DESCRIPTOR as RUN

LOG = logging.getLogger("netdyno")
DATA = "digits"
RUNTIMES = ("onnxruntime", "litert")
ACCURACIES = "accuracy.csv"
OUTPUTS = {"tables", "supernet", ACCURACIES, RUN, FRONT, GROWTH, MEASURED, BUNDLES, REPORT}


@dataclass(frozen=True)
class Size:
    """How much of everything the demo does; the defaults take minutes on two cores."""

    steps: int = 400
    predictor_samples: int = 160
    evaluations: int = 20_000
    front_points: int = 16
    table_budget_s: float = 30.0
    network_budget_s: float = 15.0
    seed: int = 0


def demo_space() -> Space:
    """A narrow OFA MobileNetV3 for ten classes at 48, 56 and 64 px."""
    return make_space("ofa-mobilenetv3", width=0.25, resolutions=[48, 56, 64], classes=10)


class Demo:
    """The road's stages; ``say`` is told, in a line each, what was done and how long it took."""

    def __init__(
        self, out: Path, size: Size, progress: Progress = silent, say: Callable[[str], None] = LOG.info
    ) -> None:
        self._out = require_writable(out)
        self._size = size
        self._progress = progress
        self._say = say
        self._space = demo_space()

    def run(self) -> Run:
        """Walk the road; returns the finished run.

        Raises:
            CheckFailed: a bundle's outputs are not those of the network that was trained.
        """
        began = time.monotonic()
        _use_all_cores()
        with open_device("cpu") as device:
            tables = {runtime: self._profile(device, runtime) for runtime in RUNTIMES}
            supernet = self._train()
            evaluated = EvaluatedAccuracy(supernet, load_data(DATA, "val"), load_data(DATA, "train"))
            predictor = self._fit(evaluated)
            self._search(tables[RUNTIMES[0]], predictor)
            self._measure(tables[RUNTIMES[0]], predictor, evaluated, device)
            self._ship(evaluated, device)
        write_report(load_run(self._out))
        self._say(f"report   {self._out / REPORT} ({time.monotonic() - began:.0f} s in all)")
        return load_run(self._out)

    def _profile(self, device: Device, runtime: str) -> LookupTable:
        folder = self._out / "tables" / runtime
        if (folder / TABLE).exists():
            known = load_table(folder)
            known.check()
            return known
        began = time.monotonic()
        method = Method(budget_s=self._size.table_budget_s)
        run = Profiling(device, Settings(runtime), method, folder, progress=self._progress)
        table = profile_space(self._space, run, subject=format_space(self._space))
        table.check()
        self._say(f"profile  {runtime}: {len(table.layers)} layers on {device.info().name} {_took(began)}")
        return table

    def _train(self) -> Supernet:
        folder = self._out / "supernet"
        if folder.exists():
            return load_supernet(folder)[0]
        began = time.monotonic()
        supernet = make_supernet(self._space, self._size.seed)
        training = Training(steps=self._size.steps, seed=self._size.seed)
        losses = train_supernet(supernet, load_data(DATA, "train"), training, self._progress)
        save_supernet(supernet, folder, data=DATA, training=training)
        self._say(f"train    {self._size.steps} steps on {DATA}, loss {np.mean(losses[-20:]):.2f} {_took(began)}")
        return supernet

    def _fit(self, evaluated: EvaluatedAccuracy) -> FittedAccuracy:
        """A predictor from subnets whose accuracy is really evaluated, each written down as it is."""
        began = time.monotonic()
        path = self._out / ACCURACIES
        known = read_accuracies(path, self._space) if path.exists() else {}
        X = self._space.sample(self._size.predictor_samples, self._size.seed + 1)
        X = np.unique([self._space.smallest(), self._space.largest(), *X], axis=0)
        for position, genes in enumerate(X):
            if format_genes(genes) not in known:
                known[format_genes(genes)] = float(evaluated(genes)[0])
                _write_accuracies(path, known)
            self._progress("evaluate", position + 1, len(X), f"{known[format_genes(genes)]:.1f} %")
        y = np.array([known[format_genes(genes)] for genes in X])
        predictor = fit_accuracy(self._space, X, y, seed=self._size.seed)
        self._say(
            f"evaluate {len(X)} subnets, accuracy {y.min():.1f} to {y.max():.1f} %; "
            f"predictor ({predictor.method}) off by {predictor.cv_mae:.2f} points {_took(began)}"
        )
        return predictor

    def _search(self, table: LookupTable, predictor: FittedAccuracy) -> None:
        if (self._out / RUN).exists():
            return
        began = time.monotonic()
        cost = table.cost(self._space, "latency_ms")
        objectives = [cost.minimize(), predictor.maximize()]
        size = self._size
        front = search(self._space, objectives, "ofa2", size.evaluations, size.seed, self._progress)
        descriptor: dict[str, Any] = {
            "method": "ofa2",
            "seed": size.seed,
            "evaluations": front.evaluations,
            "objectives": list(front.objectives),
            "table": f"tables/{RUNTIMES[0]}",
            "supernet": "supernet",
            "data": DATA,
            "predictor": {"method": predictor.method, "cv_mae_pct": predictor.cv_mae},
        }
        write_run(self._out, descriptor, front)
        self._say(f"search   OFA², {front.evaluations} evaluations, {len(front)} on the front {_took(began)}")

    def _measure(
        self, table: LookupTable, predictor: FittedAccuracy, evaluated: EvaluatedAccuracy, device: Device
    ) -> None:
        if not load_run(self._out).measured.empty:
            return
        began = time.monotonic()
        front = load_run(self._out).front
        test = EvaluatedAccuracy(evaluated.supernet, load_data(DATA, "test"), load_data(DATA, "train"))
        method = Method(budget_s=self._size.network_budget_s, memory=False)
        found = remeasure(
            front.X[spread(front, self._size.front_points)],
            table=table,
            predicted=predictor,
            evaluated=evaluated,
            test=test,
            run=Profiling(device, Settings(RUNTIMES[0]), method, progress=self._progress),
        )
        rows = found.rows
        write_measured(self._out, pick_winners(rows))
        accuracy_error = (rows["accuracy_pct_predicted"] - rows["accuracy_pct"]).abs().mean()
        self._say(
            f"measure  {len(rows)} points of the front: predictions off by "
            f"{np.abs(found.latency_error_pct).mean():.1f} % in latency, {accuracy_error:.2f} points in accuracy; "
            f"the table's own networks take {100 * (found.drift - 1):+.1f} % by now {_took(began)}"
        )

    def _ship(self, evaluated: EvaluatedAccuracy, device: Device) -> None:
        began = time.monotonic()
        data = load_data(DATA, "test")
        for row in load_run(self._out).winners.to_dict("records"):
            genes = parse_genes(self._space, row["genes"])
            facts = {"winner": row["winner"], "facts": _facts(row)}
            folder = self._out / BUNDLES / row["winner"]
            if folder.exists():
                _require_ok(folder, verify_bundle(load_bundle(folder), device))
                continue
            bundle = ship(evaluated.subnet(genes), folder, ("onnx", "tflite"), data, facts)
            _require_ok(folder, verify_bundle(bundle, device))
            latency = f"{row['latency_ms']:.3f} ms ({row['latency_ms_predicted']:.3f} predicted)"
            accuracy = f"{row['accuracy_pct']:.1f} % ({row['accuracy_pct_predicted']:.1f} predicted)"
            self._say(f"ship     {folder}: {latency}, {accuracy}, verified {_took(began)}")


def _facts(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What a card says of a winner: measured and predicted, side by side."""
    return {
        "latency_ms": {"measured": row["latency_ms"], "predicted": row["latency_ms_predicted"]},
        "accuracy_pct": {
            "measured": row["accuracy_pct"],
            "predicted": row["accuracy_pct_predicted"],
            "test": row["test_accuracy_pct"],
        },
    }


def _require_ok(folder: Path, verifications: list[Verification]) -> None:
    for verification in verifications:
        if not verification.ok:
            raise CheckFailed(
                f"{folder}: the {verification.format} model differs by {verification.difference:.1e} of the output's "
                f"range (allowed {verification.tolerance:.0e})"
            )


def read_accuracies(path: Path, space: Space) -> dict[str, float]:
    """Accuracy in percent of the subnets that were evaluated for the predictor, by their genes as text."""
    rows = read_rows(path, ("genes", "accuracy_pct"))
    try:
        return {format_genes(parse_genes(space, row["genes"])): float(row["accuracy_pct"]) for row in rows}
    except ValueError as error:
        raise InputError(f"{path}: not a list of accuracies: {error}") from error


def _write_accuracies(path: Path, known: dict[str, float]) -> None:
    lines = [f"{genes},{percent!r}" for genes, percent in known.items()]
    write_atomic(path, "\n".join(["genes,accuracy_pct", *lines]) + "\n")


def _use_all_cores() -> None:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))


def _took(began: float) -> str:
    return f"({time.monotonic() - began:.0f} s)"


def clear(out: Path) -> None:
    """Remove what an earlier demo left in a folder, and nothing else.

    Raises:
        InputError: the folder holds something that is no demo's.
    """
    require_replaceable(out, OUTPUTS)
    shutil.rmtree(out, ignore_errors=True)
