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

import math
import shutil
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netdyno.base.documents import read_document, require_schema
from netdyno.base.errors import InputError
from netdyno.base.files import is_there
from netdyno.base.result import Parts, add_to_result, find_parts, reading, replace_result
from netdyno.base.rows import read_rows, stream_rows
from netdyno.nas.pareto import non_dominated
from netdyno.nas.search.front import Front, load_front
from netdyno.nas.space import Space, make_space

DESCRIPTOR = "run.json"
SCHEMA = 1
FRONT = "front.csv"
GROWTH = "growth.csv"
JOURNAL = "journal.sqlite"
MEASURED = "measured.csv"
NETWORKS = "networks"
TRAINED = "network.json"
"""File by which the folder of a trained network is known."""
HISTORY, LEADS = "descent.csv", "leads.csv"
CASCADE, CASCADES, MEMBERS, THRESHOLDS = "cascade.json", "cascades.csv", "members.csv", "thresholds.csv"
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
    """A run folder that was read: ``measured`` has :data:`MEASURED_COLUMNS`, or is empty.

    ``history`` is what a differentiable search saw, step by step: loss, expected runtime, runtime, penalty. ``leads``
    are how far each part of a layer was ahead of being left out: layer, part, lead. Of other searches they are empty.
    ``edited`` says that files it was read from were changed since they were written.
    """

    path: Path
    descriptor: dict[str, Any]
    space: Space
    front: Front
    measured: pd.DataFrame
    history: pd.DataFrame
    leads: pd.DataFrame
    edited: bool

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


def write_run(
    path: Path, descriptor: Mapping[str, Any], front: Front, others: Mapping[str, bytes] | None = None
) -> None:
    """Write a search's result, and ``others`` by name; what an earlier search left there is replaced as one.

    Raises:
        InputError: the folder cannot be written.
    """
    space = {"name": front.space.name, **front.space.parameters}
    columns = ["evaluations", *front.objectives]
    growth = pd.DataFrame(front.growth.reshape(-1, len(columns)), columns=columns).astype({"evaluations": int})
    document = {"schema": SCHEMA, "space": space, **descriptor}
    files = {FRONT: front.to_csv().encode(), GROWTH: to_csv(growth), **(others or {})}
    replace_result(path, DESCRIPTOR, document, files, former=(MEASURED, HISTORY, LEADS))


def write_measured(path: Path, rows: pd.DataFrame) -> None:
    """Write the points of a run's front that were evaluated for real.

    Raises:
        InputError: no run there, or the folder cannot be written.
    """
    add_to_result(path, DESCRIPTOR, {MEASURED: to_csv(rows)})


def to_csv(rows: pd.DataFrame, **options: Any) -> bytes:
    """Rows as the content of a file of a run, without their index unless ``options`` of pandas ask for it."""
    text: str = rows.to_csv(lineterminator="\n", **{"index": False, **options})
    return text.encode()


def load_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: no run there, or a file of it that cannot be understood.
    """
    if not is_there(path / DESCRIPTOR):
        raise InputError(f"{path}: no run here; a run is a folder with {DESCRIPTOR}, as netdyno search writes it")
    with reading(path):
        descriptor = read_document(path / DESCRIPTOR)
        require_schema(descriptor, path / DESCRIPTOR, SCHEMA)
        try:
            space = make_space(**descriptor["space"])
            parts = find_parts(path, descriptor)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"{path / DESCRIPTOR}: not the descriptor of a run: {error}") from error
        front = load_front(parts.path(FRONT) or path / FRONT, space)
        if descriptor.get("objectives", list(front.objectives)) != list(front.objectives):
            names = ", ".join(front.objectives)
            raise InputError(f"{path}: {FRONT} is of {names}, which {DESCRIPTOR} is not; search again")
        growth = read_numbers(parts.path(GROWTH), ("evaluations", *front.objectives))
        front = replace(front, growth=growth.to_numpy(float))
        measured = _load_measured(parts.path(MEASURED))
        history = read_numbers(parts.path(HISTORY), ("loss", "expected", "runtime", "penalty"))
        leads = read_numbers(parts.path(LEADS), ("lead",), ("layer", "part"))
    parts.tell()
    return Run(path, descriptor, space, front, measured, history, leads, bool(parts.edited))


def _load_measured(path: Path | None) -> pd.DataFrame:
    rows = read_rows(path, list(MEASURED_COLUMNS)) if path is not None and is_there(path) else []
    try:
        return pd.DataFrame(rows, columns=list(MEASURED_COLUMNS), dtype=str).astype(MEASURED_COLUMNS)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not the measured points of a run: {error}") from error


def read_numbers(path: Path | None, columns: Sequence[str], names: Sequence[str] = ()) -> pd.DataFrame:
    """The finite numbers in ``columns`` of a CSV file, behind them the texts in ``names``; empty where there is none.

    Raises:
        InputError: as of :func:`netdyno.base.rows.read_rows`, or a cell that is not a finite number.
    """
    found, texts = {name: array("d") for name in columns}, {name: list[str]() for name in names}
    try:
        for row in stream_rows(path, [*names, *columns]) if path is not None and is_there(path) else ():
            for name, column in found.items():
                column.append(float(row[name]))
            for name, text in texts.items():
                text.append(sys.intern(row[name][:LONGEST]))
    except ValueError as error:
        raise InputError(f"{path}: not what belongs there: {error}") from error
    numbers = {name: np.asarray(column) for name, column in found.items()}
    if not all(np.isfinite(column).all() for column in numbers.values()):
        raise InputError(f"{path}: holds values that are not finite")
    return pd.DataFrame({**numbers, **texts})


def cascade_parts(path: Path) -> Parts:
    """Where the files of a cascade's folder are, which ``netdyno cascade`` wrote.

    Raises:
        InputError: its descriptor is none.
    """
    if not is_there(path / CASCADE):
        return Parts(path, None)
    try:
        return find_parts(path, read_document(path / CASCADE))
    except ValueError as error:
        raise InputError(f"{path / CASCADE}: not the descriptor of a cascade: {error}") from error


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
