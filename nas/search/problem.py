"""What is searched: a space, what is minimised in it, and what must be kept to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.objective import Constraint, Objective
from netdyno.nas.space import Population, Space

Floats = NDArray[np.float64]
_PROBES = 1000


@dataclass(frozen=True)
class Scores:
    """Objectives ``F (n, m)``, all minimised, and how far constraints are violated in sum, ``violation (n,)``."""

    F: Floats
    violation: Floats

    def __len__(self) -> int:
        return len(self.F)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Scores:
        return Scores(self.F[rows], self.violation[rows])

    @classmethod
    def join(cls, *parts: Scores) -> Scores:
        """The rows of one after those of the other."""
        return cls(np.concatenate([p.F for p in parts]), np.concatenate([p.violation for p in parts]))


@dataclass(frozen=True)
class Problem:
    """A space, at least one objective, and constraints."""

    space: Space
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()

    def __call__(self, X: Population) -> Scores:
        """Scores of ``X (n, genes)``.

        Raises:
            InputError: an objective or constraint is not a number.
        """
        columns = [np.asarray(objective.evaluate(X), float) for objective in self.objectives]
        F = np.stack(columns, axis=1)
        if not np.isfinite(F).all():
            row, column = np.argwhere(~np.isfinite(F))[0]
            raise InputError(f"{self.objectives[column].name} of an architecture is {F[row, column]}")
        return Scores(F, self.violation(X))

    def violation(self, X: Population) -> Floats:
        """How far ``X`` is beyond the limits, each in units of itself, in sum ``(n,)``.

        Raises:
            InputError: a constraint is not a number.
        """
        total = np.zeros(len(X))
        for constraint in self.constraints:
            beyond = np.asarray(constraint.violation(X), float)
            if not np.isfinite(beyond).all():
                raise InputError(f"{constraint.name} of an architecture is not a number")
            total += beyond / (abs(constraint.limit) or 1.0)
        return total

    def feasible(self, seed: int) -> Population:
        """An architecture ``(genes,)`` that keeps to all constraints, the one that violates nothing or least.

        From the smallest, the largest and a thousand random architectures the best is taken, and then one gene after
        the other set to its best option, until that no longer helps.

        Raises:
            InputError: none was found; the message tells the nearest.
        """
        space = self.space
        probes = space.sample(_PROBES, seed)
        X = space.canonical(np.concatenate([[space.smallest(), space.largest()], probes]))
        violation = self.violation(X)
        best: Population = X[violation.argmin()]
        least = float(violation.min())
        while least > 0:
            near = space.canonical(neighbours(space, best[None])[0])
            violation = self.violation(near)
            if violation.min() >= least:
                raise InputError(self._nearest(best))
            best, least = near[violation.argmin()], float(violation.min())
        return best

    def _nearest(self, genes: Population) -> str:
        broken = [each for each in self.constraints if each.violation(genes[None])[0] > 0]
        found = "; ".join(f"the nearest has {float(each.evaluate(genes[None])[0]):.5g}" for each in broken)
        return f"no architecture of {self.space.name} keeps to {' and '.join(map(str, self.constraints))}: {found}"


def neighbours(space: Space, X: Population) -> Population:
    """Every architecture that differs in one gene from one of ``X (n, genes)``, ``(n, neighbours, genes)``."""
    gene = np.repeat(np.arange(X.shape[1]), space.cardinalities)
    option = np.concatenate([np.arange(n) for n in space.cardinalities])
    row, change = np.nonzero(option != X[:, gene])
    near = X[row]
    near[np.arange(len(near)), gene[change]] = option[change]
    return near.reshape(len(X), int((space.cardinalities - 1).sum()), X.shape[1])


def make_problem(space: Space, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()) -> Problem:
    """A problem of these parts.

    Raises:
        InputError: no objective, or two of one name.
    """
    names = [objective.name for objective in objectives]
    if not names or len(set(names)) < len(names):
        raise InputError(f"a search needs at least one objective, each once, not {names}")
    return Problem(space, tuple(objectives), tuple(constraints))
