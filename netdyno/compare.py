"""Several runs beside each other, on their own device or re-scored on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas import pareto
from netdyno.nas.comparison import attainment, normalised_hypervolume, reference_point
from netdyno.profiler.table import LookupTable
from netdyno.runs import Run
from netdyno.targets import COSTS

Floats = NDArray[np.float64]
_POINTS = 40


@dataclass(frozen=True)
class Row:
    """One run: its front ``F (n, m)``, how many of it no other run beats, and its hypervolume as it grew."""

    name: str
    method: str
    seed: str
    evaluations: int
    F: Floats
    on_joint: int
    hypervolume: float
    share: float
    growth: list[tuple[int, float]]


@dataclass(frozen=True)
class Comparison:
    """Runs of the same objectives, up to one reference point; ``table`` names what they were re-scored on."""

    objectives: tuple[str, ...]
    ref: Floats
    rows: list[Row]
    table: str

    def document(self) -> dict[str, Any]:
        """All of it as plain values."""
        rows = [{**row.__dict__, "F": row.F.tolist()} for row in self.rows]
        return {
            "objectives": list(self.objectives),
            "reference": self.ref.tolist(),
            "table": self.table,
            "runs": rows,
        }


def compare_runs(runs: Sequence[Run], on: LookupTable | None = None) -> Comparison:
    """Compare fronts; with a table ``on``, by what it says of their architectures.

    Growth is left out then, as the points on the way are known by their scores only.

    Raises:
        InputError: runs of different objectives, a front without points, or a table that lacks a layer.
    """
    objectives = runs[0].front.objectives
    for run in runs:
        if run.front.objectives != objectives:
            other = ", ".join(run.front.objectives)
            raise InputError(f"{run.path}: minimises {other}; {runs[0].path} minimises {', '.join(objectives)}")
        if not len(run.front):
            raise InputError(f"{run.path}: its front is empty")
    fronts = [run.front.F if on is None else _rescored(run, on) for run in runs]
    joint = np.concatenate(fronts)
    best = set(map(bytes, joint[pareto.non_dominated(joint)]))
    ref = reference_point(fronts)
    rows = [
        Row(
            str(run.path),
            str(run.descriptor.get("method", "")),
            str(run.descriptor.get("seed", "")),
            _evaluations(run),
            F,
            sum(bytes(point) in best for point in F),
            pareto.hypervolume(F, ref.tolist()),
            normalised_hypervolume(F, ref, fronts),
            [] if on is not None else _growth(run, ref),
        )
        for run, F in zip(runs, fronts, strict=True)
    ]
    return Comparison(objectives, ref, rows, "" if on is None else on.name)


def _rescored(run: Run, table: LookupTable) -> Floats:
    """The front's non-dominated points by another table; objectives that no table tells stay as they are."""
    F = run.front.F.copy()
    for column, name in enumerate(run.front.objectives):
        if name in COSTS.values():
            F[:, column] = table.cost(run.space, name)(run.front.X)
    return F[pareto.non_dominated(F)]


def _growth(run: Run, ref: Floats) -> list[tuple[int, float]]:
    if not len(run.front.growth):
        return []
    first, last = run.front.growth[0, 0], max(run.front.growth[-1, 0], _evaluations(run))
    at = np.unique(np.geomspace(max(first, 1), max(last, 1), _POINTS).round().astype(int)).tolist()
    return list(zip(at, attainment(run.front.growth, ref, at).tolist(), strict=True))


def _evaluations(run: Run) -> int:
    value = run.descriptor.get("evaluations")
    return value if isinstance(value, int) else 0
