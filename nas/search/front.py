"""What a search returns: the architectures that no other beats in every objective."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.files import write_atomic
from netdyno.base.rows import stream_cells
from netdyno.nas import pareto
from netdyno.nas.space import Population, Space

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Front:
    """Non-dominated architectures, sorted by the first objective.

    ``X``: ``(n, genes)`` int64, canonical. ``F``: ``(n, objectives)`` float64, all minimised, named by
    ``objectives``; accuracy stands there as error. ``growth``: every point that was non-dominated when it came,
    ``(k, 1 + objectives)``, with how many evaluations had been made then.
    """

    space: Space
    objectives: tuple[str, ...]
    X: Population
    F: Floats
    evaluations: int
    growth: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)

    def hypervolume(self, ref: Sequence[float]) -> float:
        """Exact hypervolume up to the reference point ``ref``, one value an objective.

        Raises:
            InputError: not one value an objective.
        """
        if len(ref) != len(self.objectives):
            raise InputError(f"the reference point needs {len(self.objectives)} values, not {len(ref)}")
        return pareto.hypervolume(self.F, ref)

    def __len__(self) -> int:
        return len(self.X)

    def to_csv(self) -> str:
        """The content of ``front.csv``: objectives, then genes as option indices."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.objectives, *(f"x{i}" for i in range(self.X.shape[1]))])
        writer.writerows(
            [*map(float, values), *map(int, genes)] for values, genes in zip(self.F, self.X, strict=True)
        )
        return text.getvalue()

    def save(self, path: Path) -> None:
        """Write :meth:`to_csv` to a file."""
        write_atomic(path, self.to_csv())


def load_front(path: Path, space: Space) -> Front:
    """Read a front that :meth:`Front.save` wrote.

    Raises:
        InputError: not such a file, or not of this space.
    """
    genes = len(space.cardinalities)
    cells = stream_cells(path)
    objectives = tuple(next(cells)[:-genes])
    try:
        objective_values, options = array("d"), array("q")
        for row in cells:
            objective_values.extend(map(float, row[:-genes]))
            options.extend(map(int, row[-genes:]))
        if not objectives or not options:
            raise ValueError("rows and columns do not fit")
        values = np.asarray(objective_values).reshape(-1, len(objectives))
        X = space.check(np.asarray(options).reshape(-1, genes))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a front of {space.name}: {error}") from error
    if not np.isfinite(values).all():
        raise InputError(f"{path}: holds objectives that are not finite")
    return Front(space, objectives, X, values, evaluations=0)
