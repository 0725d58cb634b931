"""Run folders: what a search leaves behind, and what export and report go on from.

::

    run.json        space, method, seed, objectives, table, supernet, data, conditions
    front.csv       the predicted front: objectives, then genes
    growth.csv      every point that was on the front when it came: evaluations until then, objectives
    journal.sqlite  every evaluation, from which the same search goes on
    measured.csv    points of the front evaluated for real, predictions beside them
    networks/GENES/ where the search trained what it evaluated: a trained network each
    bundles/NAME/   the winners
    report.html
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netdyno.base.errors import InputError
from netdyno.base.files import read_text, write_atomic
from netdyno.base.rows import read_rows
from netdyno.nas.pareto import non_dominated
from netdyno.nas.search.front import Front, load_front
from netdyno.nas.space import Space, make_space

DESCRIPTOR = "run.json"
FRONT = "front.csv"
GROWTH = "growth.csv"
JOURNAL = "journal.sqlite"
MEASURED = "measured.csv"
NETWORKS = "networks"
TRAINED = "network.json"
"""What the folder of a trained network is known by."""
HISTORY, LEADS = "descent.csv", "leads.csv"
CASCADES, MEMBERS, THRESHOLDS = "cascades.csv", "members.csv", "thresholds.csv"
BUNDLES = "bundles"
REPORT = "report.html"
LONGEST = 200
"""Characters of a text in a run that are shown."""

MEASURED_COLUMNS = {
    "genes": str,
    "winner": str,
    "latency_ms_predicted": float,
    "latency_ms": float,
    "latency_ms_low": float,
    "latency_ms_high": float,
    "accuracy_pct_predicted": float,
    "accuracy_pct": float,
    "test_accuracy_pct": float,
    "macs": int,
    "params": int,
    "peak_activation_bytes": int,
}


@dataclass(frozen=True)
class Run:
    """A run folder that was read: ``measured`` has :data:`MEASURED_COLUMNS`, or is empty."""

    path: Path
    descriptor: dict[str, Any]
    space: Space
    front: Front
    measured: pd.DataFrame

    @property
    def history(self) -> pd.DataFrame:
        """What a differentiable search saw, step by step: loss, expected runtime, runtime, penalty; else empty."""
        return read_numbers(self.path / HISTORY, ("loss", "expected", "runtime", "penalty"))

    @property
    def leads(self) -> pd.DataFrame:
        """How far each part of a layer was ahead of being left out: layer, part, lead; else empty."""
        return read_numbers(self.path / LEADS, ("lead",), ("layer", "part"))

    @property
    def winners(self) -> pd.DataFrame:
        """The rows that were shipped, fastest first."""
        return self.measured[self.measured["winner"] != ""].sort_values("latency_ms")

    def resolve(self, name: str) -> Path | None:
        """The folder that the descriptor names, relative to the run: ``table``, ``supernet`` or ``networks``."""
        value = self.descriptor.get(name)
        return self.path / value if isinstance(value, str) else None


def forget_search(path: Path) -> None:
    """Delete what a search goes on from: its journal, and the networks that it trained; nothing else in the folder.

    Raises:
        InputError: something of it cannot be deleted.
    """
    networks = path / NETWORKS
    try:
        for file in path.glob(f"{JOURNAL}*"):
            file.unlink()
        for each in [] if networks.is_symlink() else networks.glob(f"*/{TRAINED}"):
            shutil.rmtree(each.parent)
        if networks.is_dir() and not any(networks.iterdir()):
            networks.rmdir()
    except OSError as error:
        raise InputError(f"{path}: cannot be forgotten: {error.strerror}") from error


def write_run(path: Path, descriptor: dict[str, Any], front: Front) -> None:
    """Write a search's result; what an earlier search left there is replaced.

    Raises:
        InputError: the folder cannot be written.
    """
    space = {"name": front.space.name, **front.space.parameters}
    (path / MEASURED).unlink(missing_ok=True)
    front.save(path / FRONT)
    columns = ["evaluations", *front.objectives]
    growth = pd.DataFrame(front.growth.reshape(-1, len(columns)), columns=columns).astype({"evaluations": int})
    write_atomic(path / GROWTH, growth.to_csv(index=False, lineterminator="\n"))
    write_atomic(path / DESCRIPTOR, json.dumps({"space": space, **descriptor}, indent=2) + "\n")


def write_measured(path: Path, rows: pd.DataFrame) -> None:
    """Write the points that were evaluated for real.

    Raises:
        InputError: the folder cannot be written.
    """
    write_atomic(path / MEASURED, rows.to_csv(index=False, lineterminator="\n"))


def load_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: no run there, or a file of it that cannot be understood.
    """
    if not (path / DESCRIPTOR).is_file():
        raise InputError(f"{path}: no run here; a run is a folder with {DESCRIPTOR}, as netdyno search writes it")
    try:
        descriptor = json.loads(read_text(path / DESCRIPTOR))
        space = make_space(**descriptor["space"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path / DESCRIPTOR}: not the descriptor of a run: {error}") from error
    front = load_front(path / FRONT, space)
    front = replace(front, growth=read_numbers(path / GROWTH, ("evaluations", *front.objectives)).to_numpy(float))
    return Run(path, descriptor, space, front, _load_measured(path / MEASURED))


def _load_measured(path: Path) -> pd.DataFrame:
    rows = read_rows(path, list(MEASURED_COLUMNS)) if path.exists() else []
    try:
        return pd.DataFrame(rows, columns=list(MEASURED_COLUMNS), dtype=str).astype(MEASURED_COLUMNS)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not the measured points of a run: {error}") from error


def read_numbers(path: Path, columns: Sequence[str], names: Sequence[str] = ()) -> pd.DataFrame:
    """The finite numbers in ``columns`` of a CSV file, behind them the texts in ``names``; empty where there is none.

    Raises:
        InputError: as of :func:`netdyno.base.rows.read_rows`, or a cell that is not a finite number.
    """
    rows = read_rows(path, [*names, *columns]) if path.exists() else []
    try:
        numbers = {name: np.array([float(row[name]) for row in rows]) for name in columns}
    except ValueError as error:
        raise InputError(f"{path}: not what belongs there: {error}") from error
    if not all(np.isfinite(column).all() for column in numbers.values()):
        raise InputError(f"{path}: holds values that are not finite")
    return pd.DataFrame({**numbers, **{name: [row[name][:LONGEST] for row in rows] for name in names}})


def spread(front: Front, n: int) -> list[int]:
    """Positions of ``n`` points of a front, evenly along it, both ends included."""
    return sorted(set(np.linspace(0, len(front) - 1, min(n, len(front))).round().astype(int).tolist()))


def pick_winners(measured: pd.DataFrame, names: Sequence[str] = ("fast", "balanced", "accurate")) -> pd.DataFrame:
    """The same rows with ``winner`` set on as many as there are names, from the really measured front.

    The first is the fastest, the last the most accurate; those between stand farthest above the line between the
    two, in units of the front's own extent. Where the front has fewer points than there are names, the most accurate
    of the others fill up.
    """
    rows = measured.assign(winner="")
    F = np.stack([rows["latency_ms"], 100 - rows["accuracy_pct"]], axis=1).astype(float)
    kept = non_dominated(F)
    kept = kept[np.argsort(F[kept, 0])]
    extent = np.ptp(F[kept], axis=0)
    extent[extent == 0] = math.inf
    depth = -((F[kept] - F[kept].min(axis=0)) / extent).sum(axis=1)
    inner = [int(kept[i]) for i in np.argsort(-depth) if 0 < i < len(kept) - 1]
    ends = [int(kept[0]), int(kept[-1])] if len(kept) > 1 else [int(kept[0])]
    others = [int(i) for i in np.argsort(F[:, 1]) if int(i) not in {*kept.tolist()}]
    chosen = [*ends, *inner, *others][: len(names)]
    for name, row in zip(names, sorted(chosen, key=lambda i: F[i, 0]), strict=False):
        rows.loc[rows.index[row], "winner"] = name
    return rows
