"""Bayesian optimisation of one objective that takes long, under constraints: HyperPower, and the plain form of it.

HyperPower knows the constraints beforehand, from models, and trains nothing that breaks one; plain constrained
Bayesian optimisation learns them, as it learns the objective, from what was evaluated.
Source: Stamoulis et al. 2018; Stamoulis 2020, section 3.3; Gelbart et al. 2014.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netdyno.base.errors import InputError
from netdyno.base.objective import Constraint
from netdyno.base.registry import require
from netdyno.nas.search.bayes import Floats
from netdyno.nas.search.bayes.acquisition import admit, log_expected_improvement, log_probability_below
from netdyno.nas.search.bayes.points import in_cube, informed, step
from netdyno.nas.search.bayes.suggest import Promise, apart_about_the_middle, suggest
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.space import Population

if TYPE_CHECKING:
    from netdyno.nas.search.bayes.surrogate import Surrogate

ABOUT = 3
"""Best architectures so far whose neighbours are candidates."""


def search_hyperpower(
    evaluate: Evaluator, seed: int, *, startup: int = 4, candidates: int = 2000, batch: int = 1, margin: float = 1.0
) -> None:
    """Expected improvement among what models say keeps to the constraints, after ``startup`` about the middle of it.

    A constraint is kept to where the far end of its model's 95 % interval is within the limit; a ``margin`` of 0 asks
    that of the model's value alone. ``batch`` architectures are suggested at a time, out of ``candidates`` and their
    neighbours.

    Raises:
        InputError: several objectives, or a setting that cannot be.
        MissingExtra: BoTorch is not installed.
    """
    if margin < 0:
        raise InputError("Bayesian optimisation needs a margin of zero or more")
    cautious = tuple(each.cautious(margin) for each in evaluate.problem.constraints)
    problem = replace(evaluate.problem, constraints=cautious)

    def promise(error: Surrogate, best: float) -> Promise:
        def worth(X: Population) -> Floats:
            mean, spread = error(loop.points(X))
            hope = log_expected_improvement(mean, spread, best) if np.isfinite(best) else -mean
            return admit(hope, problem.violation(X))

        return worth

    loop = _Loop(evaluate, seed, startup, candidates, batch)
    loop.begin_in_the_middle(problem.violation)
    loop.run(promise)


def search_constrained(
    evaluate: Evaluator, seed: int, *, startup: int = 5, candidates: int = 2000, batch: int = 1
) -> None:
    """Expected improvement times the probability that constraints, learnt from what was evaluated, are kept to.

    It begins anywhere and models values and genes as they are, as the textbook has it. Settings, and what it raises,
    are :func:`search_hyperpower`'s.
    """
    problem = evaluate.problem
    loop = _Loop(evaluate, seed, startup, candidates, batch, plain=True)

    def promise(error: Surrogate, best: float) -> Promise:
        upper = [_upward(each) for each in problem.constraints]
        learnt = [(model, model.in_units(each.limit)) for each in upper for model in [loop.learn(each.evaluate)]]

        def worth(X: Population) -> Floats:
            at = loop.points(X)
            kept = sum((log_probability_below(*model(at), limit) for model, limit in learnt), np.zeros(len(X)))
            return kept + log_expected_improvement(*error(at), best) if np.isfinite(best) else kept

        return worth

    loop.begin_anywhere()
    loop.run(promise)


class _Loop:
    """Architectures that were evaluated, and the asking for more."""

    def __init__(
        self,
        evaluate: Evaluator,
        seed: int,
        startup: int,
        candidates: int,
        batch: int,
        *,
        plain: bool = False,
    ) -> None:
        if len(evaluate.problem.objectives) != 1:
            raise InputError("Bayesian optimisation minimises one objective here; make the others constraints")
        if startup < 1 or candidates < 2 or batch < 1:
            raise InputError("Bayesian optimisation needs an architecture to start with, two candidates and a batch")
        require("botorch", extra="lab", purpose="Bayesian optimisation")
        self.evaluate, self.space = evaluate, evaluate.space
        self.generator = np.random.default_rng(seed)
        self.startup, self.candidates, self.batch = startup, candidates, batch
        self.plain = plain
        self.X: Population = self.space.sample(0, 0)
        self.error: Floats = np.empty(0)
        self.violation: Floats = np.empty(0)

    def begin_anywhere(self) -> None:
        """The first architectures: those given, and random ones."""
        given = self.evaluate.given[: self.startup]
        drawn = self.space.sample(self.startup - len(given), self.generator)
        self.ask(self.space.canonical(np.concatenate([given, drawn])))

    def begin_in_the_middle(self, violation: Callable[[Population], Floats]) -> None:
        """The first architectures: those given, and of many that violate least some about the middle, far apart.

        What lies far out, such as the largest of learning rates, is where trainings lead nowhere. So is often the one
        that was found to keep to the constraints before the search: it counts as any other.
        """
        given = self.evaluate.given[: self.startup]
        n = self.startup - len(given)
        drawn = self.space.sample(max(self.candidates, n), self.generator)
        pool = self.space.canonical(np.concatenate([self.evaluate.feasible, drawn]))
        broken = violation(pool)
        kept = pool[broken <= np.sort(broken)[max(n, 1) - 1]]
        self.ask(np.concatenate([given, kept[apart_about_the_middle(self.points(kept), n)]]))

    def ask(self, X: Population) -> None:
        """Evaluate, and remember."""
        scores = self.evaluate(X)
        self.X = np.concatenate([self.X, X])
        self.error = np.append(self.error, scores.F[:, 0])
        self.violation = np.append(self.violation, scores.violation)

    def run(self, make_promise: Callable[[Surrogate, float], Promise]) -> None:
        """Suggest and evaluate until evaluations are spent; the promise is made of the error's model and its best."""
        while True:
            error = self.learn(None)
            kept = self.error[self.violation == 0]
            best = error.in_units(float(kept.min())) if len(kept) else np.inf
            order = np.lexsort((self.error, self.violation))
            about = self.X[order[:ABOUT]]
            chosen = self.space.sample(0, 0)
            for _ in range(self.batch):
                promise = make_promise(error, best)
                known = np.concatenate([self.X, chosen])
                one = suggest(self.space, promise, known, about, self.candidates, self.generator)
                chosen = np.concatenate([chosen, one])
                if len(chosen) < self.batch:
                    error = error.believing(self.points(one))
            self.ask(chosen)

    def learn(self, value: Callable[[Population], Floats] | None) -> Surrogate:
        """A model of a value of what was evaluated; of the error where it is None.

        Unless all is to be plain, scales are averaged over, and of positive values the logarithm is modelled: errors
        of diverged trainings would hide all others' differences.
        """
        from netdyno.nas.search.bayes.averaged import Averaged
        from netdyno.nas.search.bayes.surrogate import Surrogate

        X, first = np.unique(self.X, axis=0, return_index=True)
        y = self.error[first] if value is None else np.asarray(value(X), float)
        points = self.points(X)
        if self.plain:
            return Surrogate(points, y)
        return Averaged(points, y, log=bool((y > 0).all()), quick=step(self.space, X).shape[1])

    def points(self, X: Population) -> Floats:
        """Architectures as a model takes them, ``(n, columns)``."""
        return in_cube(self.space, X) if self.plain else informed(self.space, X)


def _upward(constraint: Constraint) -> Constraint:
    """The same constraint as an upper limit."""
    if constraint.upper:
        return constraint
    return Constraint(constraint.name, lambda X: -constraint.evaluate(X), -constraint.limit)
