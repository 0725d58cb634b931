"""Many-objective algorithms of pymoo, with netdyno's operators: AGE-MOEA, U-NSGA-III, C-TAEA and MOEA/D.

Each algorithm keeps its own choice of mates and survivors. Children are made by crossover of whole parts of the
network and a reset of one gene in the mean: pymoo's own mutation of integers leaves 99 of 100 children as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.registry import require
from netdyno.nas import pareto
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.operators import Variation, by_parts, spread
from netdyno.nas.search.problem import Scores
from netdyno.nas.search.scaling import PENALTY, Scaling

Floats = NDArray[np.float64]


def search_age_moea(evaluate: Evaluator, seed: int, *, population: int = 100, mutation: float | None = None) -> None:
    """Survival by the estimated geometry of the front (Panichella 2019).

    ``mutation`` is the probability that a gene is set anew, by default 1/genes.

    Raises:
        MissingExtra: pymoo or numba is not installed.
        InputError: one objective only, or a setting that cannot be.
    """
    bridge = _Bridge(evaluate, population, mutation)
    require("numba", extra="lab", purpose="AGE-MOEA")
    bridge.run(_load("age").AGEMOEA(pop_size=population, **bridge.operators), seed)


def search_u_nsga3(evaluate: Evaluator, seed: int, *, population: int = 100, mutation: float | None = None) -> None:
    """NSGA-III with tournaments within a niche, for any number of objectives (Seada & Deb 2016).

    Options and errors are those of :func:`search_age_moea`.
    """
    bridge = _Bridge(evaluate, population, mutation)
    algorithm = _load("unsga3").UNSGA3(bridge.directions, pop_size=population, **bridge.operators)
    bridge.run(algorithm, seed)


def search_c_taea(evaluate: Evaluator, seed: int, *, population: int = 100, mutation: float | None = None) -> None:
    """Two archives, one for convergence and feasibility and one for diversity (Li et al. 2019).

    Options and errors are those of :func:`search_age_moea`.
    """
    bridge = _Bridge(evaluate, population, mutation)
    bridge.run(_load("ctaea").CTAEA(bridge.directions, **bridge.operators), seed)


def search_moead(evaluate: Evaluator, seed: int, *, population: int = 100, mutation: float | None = None) -> None:
    """One scalar problem for each direction, which neighbours solve together (Zhang & Li 2007).

    Constraints, which the algorithm does not know, are penalties. Options and errors are those of
    :func:`search_age_moea`.
    """
    bridge = _Bridge(evaluate, population, mutation)
    neighbours = max(min(20, population // 5), 2)
    algorithm = _load("moead").ParallelMOEAD(bridge.directions, n_neighbors=neighbours, **bridge.operators)
    bridge.run(algorithm, seed, constrained=False)


class _Bridge:
    """Between an algorithm of pymoo that asks and tells, and an evaluator that answers."""

    def __init__(self, evaluate: Evaluator, population: int, mutation: float | None) -> None:
        objectives = len(evaluate.problem.objectives)
        if objectives < 2:
            raise InputError("this method needs two objectives or more; take ofa for one")
        if population < max(objectives, 4):
            raise InputError(f"a population of {population} is too small for {objectives} objectives")
        if mutation is not None and not 0 <= mutation <= 1:
            raise InputError(f"a probability of mutation is from 0 to 1, not {mutation}")
        self._evaluate = evaluate
        self._population = population
        variation = by_parts(evaluate.space)
        self._variation = variation if mutation is None else replace(variation, mutation=mutation)
        self._scaling = Scaling()
        self.directions = pareto.directions(objectives, population)
        self.operators = _operators(self._variation)

    def run(self, algorithm: Any, seed: int, constrained: bool = True) -> None:
        """Evolve until all evaluations are spent, or until the algorithm finds nothing new in a small space."""
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination
        from pymoo.problems.static import StaticProblem

        space, problem = self._evaluate.space, self._evaluate.problem
        generator = np.random.default_rng(seed)
        first = space.canonical(self._evaluate.first(self._population, generator, spread))
        algorithm.initialization.sampling = first
        constrained = constrained and bool(problem.constraints)
        genes, last = len(space.cardinalities), space.cardinalities - 1
        described = Problem(n_var=genes, n_obj=len(problem.objectives), n_ieq_constr=int(constrained), xl=0, xu=last)
        algorithm.setup(described, termination=NoTermination(), seed=seed)
        while (asked := algorithm.ask()) is not None and len(asked):
            scores = self._evaluate(asked.get("X").astype(np.int64))
            known = {"F": self._scaled(scores, constrained)}
            known |= {"G": scores.violation[:, None]} if constrained else {}
            algorithm.evaluator.eval(StaticProblem(described, **known), asked)
            algorithm.tell(infills=asked)

    def _scaled(self, scores: Scores, constrained: bool) -> Floats:
        """Objectives in the extent of the first population, with penalties where pymoo is not told of constraints."""
        scaled = self._scaling(scores.F)
        return scaled if constrained else scaled + PENALTY * scores.violation[:, None]


def _operators(variation: Variation) -> dict[str, Any]:
    """Crossover and mutation as pymoo calls them."""
    require("pymoo", extra="lab", purpose="this method")
    from pymoo.core.crossover import Crossover
    from pymoo.core.mutation import Mutation

    space = variation.space

    class CrossParts(Crossover):  # type: ignore[misc]
        def _do(self, problem: Any, X: Any, *args: Any, random_state: np.random.Generator, **kwargs: Any) -> Any:
            return variation.cross(X[0], X[1], random_state)[None]

    class ResetGenes(Mutation):  # type: ignore[misc]
        def _do(self, problem: Any, X: Any, *args: Any, random_state: np.random.Generator, **kwargs: Any) -> Any:
            return space.canonical(variation.mutate(X.astype(np.int64), variation.mutation, random_state))

    return {"crossover": CrossParts(2, 1, prob=1.0), "mutation": ResetGenes()}


def _load(module: str) -> Any:
    return require(f"pymoo.algorithms.moo.{module}", extra="lab", purpose="this method")
