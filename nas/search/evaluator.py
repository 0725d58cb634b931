"""What a searcher asks: it scores populations, keeps to the budget, and remembers the front and how it grew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.progress import Progress, silent
from netdyno.nas import pareto
from netdyno.nas.search.front import Front
from netdyno.nas.search.journal import Journal
from netdyno.nas.search.memory import Memory
from netdyno.nas.search.problem import Problem, Scores
from netdyno.nas.space import Population, Space

Floats = NDArray[np.float64]
Draw = Callable[[Space, int, np.random.Generator], Population]
_TELL_S = 0.2


class Spent(Exception):
    """All evaluations are spent; :func:`netdyno.nas.search.search` catches it."""


class Evaluator:
    """Scores of architectures, up to a number of ``evaluations``.

    A searcher calls it with populations until it raises :class:`Spent`. ``start (n, genes)`` are architectures to
    begin with, ``feasible (genes,)`` the one where there are none. With a ``journal`` what it already holds is not
    evaluated again: a searcher that asks the same questions in the same order, as one does with the same seed, goes
    on where it was cut off. After ``limit_s`` seconds, those before such a cut included, nothing new is evaluated.
    """

    def __init__(
        self,
        problem: Problem,
        evaluations: int,
        start: Population | None = None,
        journal: Journal | None = None,
        progress: Progress = silent,
        feasible: Population | None = None,
        limit_s: float = math.inf,
    ) -> None:
        self.problem = problem
        self.space = problem.space
        self.limit = evaluations
        self.spent = 0
        self.given = np.empty((0, len(self.space.cardinalities)), np.int64) if start is None else start
        self.feasible = self.given[:0] if feasible is None else feasible[None]
        self._journal = journal
        self._progress = progress
        self._deadline = time.monotonic() + limit_s - (journal.spent_s if journal else 0.0)
        self._told = 0.0
        self._worst: Floats | None = None
        self._X: Population = np.empty((0, len(self.space.cardinalities)), np.int64)
        self._F = np.empty((0, len(problem.objectives)))
        self._growth: list[Floats] = []
        self._memory = Memory(len(self.space.cardinalities), len(problem.objectives))

    @property
    def left(self) -> int:
        """Evaluations that remain."""
        return self.limit - self.spent

    @property
    def best(self) -> Population:
        """The non-dominated, feasible architectures so far, ``(n, genes)``."""
        return self._X

    def first(self, n: int, generator: np.random.Generator, draw: Draw = Space.sample) -> Population:
        """``n`` architectures to begin with: those that were given, else the feasible one, and what ``draw`` adds."""
        given = (self.given if len(self.given) else self.feasible)[:n]
        return np.concatenate([given, draw(self.space, n - len(given), generator)])

    def __call__(self, X: Population) -> Scores:
        """Scores of ``X (n, genes)``, each row of which counts; what was asked before is not evaluated again.

        Raises:
            Spent: these were more than are left, as many as that were evaluated; or time is up.
            InputError: an objective is not a number.
        """
        wanted = len(X)
        if self._is_late(X):
            raise Spent
        X = X[: self.left]
        if len(X):
            scores, new = self._memory.scores(X, self._ask)
            self.spent += len(X)
            self._remember(X[new], scores[new])
            self._tell()
        if len(X) < wanted:
            raise Spent
        return scores

    def _is_late(self, X: Population) -> bool:
        """Whether time is up and these are new; the first always are in time, or there would be no result."""
        if not self.spent or time.monotonic() < self._deadline:
            return False
        return self._journal is None or not self._journal.knows(X)

    def _ask(self, X: Population) -> Scores:
        return self.problem(X) if self._journal is None else self._journal.scores(X, self.problem)

    def _remember(self, X: Population, scores: Scores) -> None:
        if self.problem.constraints:
            feasible = np.flatnonzero(scores.violation == 0)
            X, scores = X[feasible], scores[feasible]
        before = len(self._F)
        both_X, both_F = np.concatenate([self._X, X]), np.concatenate([self._F, scores.F])
        kept = pareto.non_dominated(both_F)
        new = kept[kept >= before]
        if len(new):
            self._X, self._F = both_X[kept], both_F[kept]
            self._growth.append(np.column_stack([np.full(len(new), self.spent), both_F[new]]))

    def _tell(self) -> None:
        if self._worst is None and len(self._F):
            self._worst = self._F.max(axis=0)
        if self._progress is silent or (self.left and time.monotonic() < self._told + _TELL_S):
            return
        self._told = time.monotonic()
        note = f"{len(self._F)} on the front"
        if self._worst is not None and self._F.shape[1] > 1:
            with suppress(InputError):  # values whose volume no float holds can be searched
                note += f", hypervolume {pareto.hypervolume(self._F, self._worst.tolist()):.4g}"
        elif len(self._F):
            note = f"best {self._F.min():.4g}"
        self._progress("search", self.spent, self.limit, note)

    def front(self) -> Front:
        """The non-dominated architectures so far."""
        order = np.lexsort(self._F.T[::-1])
        growth = np.concatenate([np.empty((0, self._F.shape[1] + 1)), *self._growth])
        names = tuple(objective.name for objective in self.problem.objectives)
        X = self.space.canonical(self._X[order])
        return Front(self.space, names, X, self._F[order], self.spent, growth)
