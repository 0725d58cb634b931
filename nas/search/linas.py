"""LINAS: measure few architectures, search predictors fitted to them, measure the best of what that finds, repeat.

Algorithm 1 of Cummings et al. 2022, A Hardware-Aware Framework for Accelerating Neural Architecture Search Across
Modalities; and the search of predictors that are fitted once, with which it is compared there. Here no network is
measured twice, the last population is measured too, and predictors see the masked encoding.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.objective import Objective
from netdyno.nas import pareto
from netdyno.nas.regression import LEAST, check_method, fit_regression
from netdyno.nas.search import find_searcher
from netdyno.nas.search.evaluator import Evaluator, Spent
from netdyno.nas.search.problem import Problem, Scores
from netdyno.nas.space import Population

Floats = NDArray[np.float64]
_LOGGER = logging.getLogger("netdyno")
_DRAWS = 1000
"""How many random architectures are drawn to make up for new ones that an inner search did not find."""


def search_linas(
    evaluate: Evaluator,
    seed: int,
    *,
    population: int = 50,
    inner_evaluations: int = 20_000,
    algorithm: str = "nsga2",
    predictor: str = "auto",
    predicted: Sequence[str] | None = None,
    batch: int = 1,
) -> None:
    """Rounds of ``population`` measurements, each the best of ``inner_evaluations`` predicted ones.

    ``algorithm`` is the search method that asks the predictors, ``predictor`` how :func:`fit_regression` makes them.
    The objectives that ``predicted`` names are predicted, by default all; others, and constraints, must be cheap.
    ``batch`` architectures are measured at a time: a kill loses no more than these.

    Raises:
        UnknownName: no such algorithm or predictor.
        InputError: fewer than ten measurements a round, or ``predicted`` names what is no objective.
    """
    lab = _Lab(evaluate, seed, batch)
    inner = _Inner(inner_evaluations, algorithm, predictor, _names(evaluate.problem, predicted))
    if population < LEAST:
        raise InputError(f"a round of LINAS measures at least {LEAST} architectures, not {population}")
    with lab:
        new = lab.measure(evaluate.first(population, lab.generator), population)
        while evaluate.left and new and len(lab.X) >= LEAST:
            new = lab.measure(inner.best(lab, population), population)


def search_one_shot(
    evaluate: Evaluator,
    seed: int,
    *,
    training: int | None = None,
    inner_evaluations: int = 20_000,
    algorithm: str = "nsga2",
    predictor: str = "auto",
    predicted: Sequence[str] | None = None,
    batch: int = 1,
) -> None:
    """Measure ``training`` random architectures, search predictors fitted to these once, measure the best.

    By default half of the evaluations are training. Other options are those of :func:`search_linas`.

    Raises:
        UnknownName: no such algorithm or predictor.
        InputError: fewer than ten to train on, or ``predicted`` names what is no objective.
    """
    lab = _Lab(evaluate, seed, batch)
    inner = _Inner(inner_evaluations, algorithm, predictor, _names(evaluate.problem, predicted))
    first = max(evaluate.limit // 2, LEAST) if training is None else training
    if first < LEAST:
        raise InputError(f"a predictor is trained on at least {LEAST} architectures, not {first}")
    with lab:
        lab.measure(evaluate.first(first, lab.generator), first)
        if evaluate.left and len(lab.X) >= LEAST:
            lab.measure(inner.best(lab, evaluate.left), evaluate.left)


class _Lab:
    """Measures distinct architectures and keeps them: ``X (n, genes)``, canonical, and ``F (n, objectives)``.

    As a context it tells at the end how long measuring took, and how long all else.
    """

    def __init__(self, evaluate: Evaluator, seed: int, batch: int) -> None:
        if batch < 1:
            raise InputError(f"at least one architecture is measured at a time, not {batch}")
        self.evaluate = evaluate
        self.generator = np.random.default_rng(seed)
        self.X: Population = np.empty((0, len(evaluate.space.cardinalities)), np.int64)
        self.F: Floats = np.empty((0, len(evaluate.problem.objectives)))
        self._batch = batch
        self._began = time.perf_counter()
        self._measuring_s = 0.0

    def measure(self, X: Population, n: int) -> int:
        """Measure the first ``n`` new ones of ``X (m, genes)``, random ones where these are fewer; how many it were.

        Raises:
            Spent: the evaluations do not suffice.
        """
        n = min(n, self.evaluate.left)
        new = self._new(X)[:n]
        if len(new) < n:
            new = self._new(np.concatenate([new, self.evaluate.space.sample(_DRAWS, self.generator)]))[:n]
        for start in range(0, len(new), self._batch):
            part = new[start : start + self._batch]
            began = time.perf_counter()
            scores = self.evaluate(part)
            self._measuring_s += time.perf_counter() - began
            self.X, self.F = np.concatenate([self.X, part]), np.concatenate([self.F, scores.F])
        return len(new)

    def new(self, X: Population) -> NDArray[np.int64]:
        """Positions of the distinct, unmeasured ones of the canonical ``X (m, genes)``."""
        seen = {genes.tobytes() for genes in self.X}
        first: dict[bytes, int] = {}
        for position, genes in enumerate(X):
            first.setdefault(genes.tobytes(), position)
        return np.array([position for key, position in first.items() if key not in seen], np.int64)

    def _new(self, X: Population) -> Population:
        canonical = self.evaluate.space.canonical(X)
        return canonical[self.new(canonical)]

    def __enter__(self) -> _Lab:
        return self

    def __exit__(self, *exception: object) -> None:
        other = time.perf_counter() - self._began - self._measuring_s
        _LOGGER.info("measured %d in %.2f s, fitted and searched in %.2f s", len(self.X), self._measuring_s, other)


@dataclass(frozen=True)
class _Remembered(Problem):
    """A problem that keeps what it was asked and what it answered."""

    asked: list[tuple[Population, Scores]] = field(default_factory=list)

    def __call__(self, X: Population) -> Scores:
        scores = super().__call__(X)
        self.asked.append((X, scores))
        return scores


class _Inner:
    """The search of predictors that are fitted to what was measured."""

    def __init__(self, evaluations: int, algorithm: str, predictor: str, predicted: Sequence[str]) -> None:
        if evaluations < 1:
            raise InputError("an inner search needs at least one evaluation")
        check_method(predictor)
        self._search = find_searcher(algorithm, {})
        self._evaluations = evaluations
        self._predictor = predictor
        self._predicted = predicted

    def best(self, lab: _Lab, n: int) -> Population:
        """The ``n`` best unmeasured architectures that were found, spread along the front, fewer if it is so."""
        problem = self._fit(lab)
        start = lab.evaluate.best
        with suppress(Spent):
            self._search(Evaluator(problem, self._evaluations, start), seed=int(lab.generator.integers(2**31)))
        X = lab.evaluate.space.canonical(np.concatenate([X for X, _ in problem.asked]))
        scores = Scores.join(*(scores for _, scores in problem.asked))
        new = lab.new(X)
        return X[new[_choose(scores[new], n)]] if len(new) else X[:0]

    def _fit(self, lab: _Lab) -> _Remembered:
        """The problem with predictions in place of measured objectives."""
        given = lab.evaluate.problem
        objectives = list(given.objectives)
        for column, objective in enumerate(given.objectives):
            if objective.name in self._predicted:
                fitted = fit_regression(given.space, lab.X, lab.F[:, column], self._predictor)
                _LOGGER.info("%s: %s, off by %.3g", objective.name, fitted.method, fitted.cv_mae)
                objectives[column] = Objective(objective.name, fitted)
        return _Remembered(given.space, tuple(objectives), given.constraints)


def _names(problem: Problem, predicted: Sequence[str] | None) -> Sequence[str]:
    """Names of the objectives to predict.

    Raises:
        InputError: one that is no objective.
    """
    names = [objective.name for objective in problem.objectives]
    if predicted is None:
        return names
    predicted = [predicted] if isinstance(predicted, str) else predicted
    if unknown := [name for name in predicted if name not in names]:
        raise InputError(f"{unknown[0]!r} cannot be predicted; the objectives are {', '.join(names)}")
    return predicted


def _choose(scores: Scores, n: int) -> NDArray[np.int64]:
    """Positions of ``n`` rows, fewer if there are not as many: whole fronts, the best first, and a part of the last.

    Feasible ones alone if any are. Of the last front it is again and again the one that is farthest from all that
    are chosen, each objective scaled to the extent of that front.
    """
    feasible = np.flatnonzero(scores.violation <= scores.violation.min(initial=np.inf))
    F = scores.F[feasible]
    rank = _ranks(F)
    last = int(np.sort(rank)[:n].max(initial=0))
    chosen, front = np.flatnonzero(rank < last).tolist(), np.flatnonzero(rank == last)
    if len(chosen) + len(front) > n:
        F = F / np.maximum(np.ptp(F[front], axis=0), 1e-12)
        gap = np.full(len(front), np.inf)
        for position in chosen:
            gap = np.minimum(gap, _distance(F[front], F[position]))
        while len(chosen) < n:
            far = int(gap.argmax())
            chosen.append(int(front[far]))
            gap = np.minimum(gap, _distance(F[front], F[front[far]]))
            gap[far] = -1
        return feasible[chosen]
    return feasible[[*chosen, *front]]


def _distance(F: Floats, point: Floats) -> Floats:
    distance: Floats = np.sqrt(((F - point) ** 2).sum(axis=1))
    return distance


def _ranks(F: Floats) -> NDArray[np.int64]:
    """Which front each row of ``F (n, m)`` is on, 0 the best; exact for tens of thousands of rows."""
    import moocore

    if F.shape[1] == 1 or not len(F):
        return np.unique(F[:, 0], return_inverse=True)[1].astype(np.int64)
    if not np.isfinite(F).all():  # which moocore does not survive
        return pareto.ranks(F)
    ranks: NDArray[np.int64] = np.asarray(moocore.pareto_rank(F), np.int64)
    return ranks
