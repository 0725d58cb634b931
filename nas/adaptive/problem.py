"""What is optimised: sizes of all networks of a cascade and the thresholds between them, jointly (Eq. 4.1–4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.adaptive.answers import Answers, Floats
from netdyno.nas.adaptive.cascade import Swept, as_arrays, clear_thresholds, decide, sweep
from netdyno.nas.adaptive.execution import mean_cost
from netdyno.nas.space import Population, Space

MOST_NETWORKS = 4
COMBINATIONS = 10_000
"""Of thresholds that are swept at a time."""

Answering = Callable[[Population], Answers]
"""An architecture ``(genes,)``, trained, to its answers to the validation images."""
Costing = Callable[[Population], Floats]
"""Architectures ``X (networks, genes)`` of a cascade to what an image costs at each, ``(networks,)``."""


@dataclass(frozen=True)
class Goal:
    """The least cost with an error of at most ``error_pct``, or the least error with at most ``cost``.

    Raises:
        InputError: both, or none of them.
    """

    error_pct: float | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        if (self.error_pct is None) == (self.cost is None):
            raise InputError("a cascade keeps to one limit, of its error or of its cost")

    def split(self, error: Floats, cost: Floats) -> tuple[Floats, Floats]:
        """How far the limit is broken, and what is minimised; errors in percent and costs of any one shape."""
        if self.error_pct is not None:
            return np.maximum(error - self.error_pct, 0.0), cost
        assert self.cost is not None
        return np.maximum(cost - self.cost, 0.0), error

    def best(self, error: Floats, cost: Floats) -> int:
        """Position, in the flattened arrays, of what is best among what keeps to the limit, or breaks it least."""
        broken, value = self.split(error.ravel(), cost.ravel())
        least = np.flatnonzero(broken == broken.min())
        return int(least[value[least].argmin()])


@dataclass(frozen=True)
class Design:
    """A cascade: ``X (networks, genes)``, ``thresholds (networks − 1,)``, and what they come to."""

    X: Population
    thresholds: Floats
    error_pct: float
    cost: float


class CascadeProblem:
    """Cascades of ``networks`` architectures of one space; answers and costs are asked for once for each.

    Raises:
        InputError: fewer than two networks, or more than four.
    """

    def __init__(self, space: Space, networks: int, answering: Answering, costing: Costing, goal: Goal) -> None:
        if not 2 <= networks <= MOST_NETWORKS:
            raise InputError(f"a cascade has 2 to {MOST_NETWORKS} networks, not {networks}")
        self.space, self.networks, self.goal = space, networks, goal
        self._answer = cache(lambda genes: answering(np.frombuffer(genes, np.int64)))
        self._clear = cache(lambda genes: clear_thresholds(self._answer(genes).margins, self.each))
        self._costing = costing
        self.each = max(int(COMBINATIONS ** (1 / (networks - 1))), 2)
        """Thresholds of a network that are swept."""

    def answers(self, X: Population) -> list[Answers]:
        """Of each network of a cascade ``X (networks, genes)``."""
        return [self._answer(genes.tobytes()) for genes in self.space.canonical(X)]

    def evaluate(self, X: Population, thresholds: Floats) -> Design:
        """One cascade with these thresholds."""
        margins, right = as_arrays(self.answers(X))
        stops = decide(margins, thresholds)
        error = 100 * float(1 - right[stops, np.arange(len(stops))].mean())
        reach = (stops >= np.arange(self.networks)[:, None]).mean(axis=1)
        return Design(X, thresholds, error, float(mean_cost(reach, self._costing(X))))

    def sweep(self, X: Population) -> tuple[Swept, Floats]:
        """Every combination of clear thresholds of a cascade, and its cost ``(T₁, …)``."""
        answers = self.answers(X)
        swept = sweep(answers, [self._clear(genes.tobytes()) for genes in self.space.canonical(X[:-1])])
        return swept, mean_cost(swept.reach, self._costing(X))

    def best_thresholds(self, X: Population) -> Design:
        """A cascade with the thresholds that are best for the goal."""
        swept, cost = self.sweep(X)
        return self.pick(X, swept, cost, self.goal.best(swept.error_pct, cost))

    def pick(self, X: Population, swept: Swept, cost: Floats, flat: int) -> Design:
        """The cascade of one combination of a sweep, by its position in the flattened arrays."""
        position = tuple(int(i) for i in np.unravel_index(flat, cost.shape))
        return Design(X, swept.at(position), float(swept.error_pct[position]), float(cost[position]))

    def better(self, designs: list[Design]) -> Design:
        """The best of some designs for the goal."""
        error, cost = (np.array([getattr(each, name) for each in designs]) for name in ("error_pct", "cost"))
        return designs[self.goal.best(error, cost)]
