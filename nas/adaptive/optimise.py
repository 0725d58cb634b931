"""Find a cascade: by Bayesian optimisation with and without sweeps of thresholds, on a grid, or network by network.

Bayesian optimisation asks for sizes and thresholds jointly. A training tells the margins of all images, and so what
any thresholds would have come to: with sweeps (BO⁺) all of that is learnt from each evaluation.
Source: Stamoulis 2020, section 4.3 and Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from netdyno.base.errors import InputError, UnknownName
from netdyno.base.progress import Progress, silent
from netdyno.base.ranges import EVALUATIONS, SEED
from netdyno.base.registry import require
from netdyno.nas.adaptive.answers import Floats
from netdyno.nas.adaptive.problem import CascadeProblem, Design
from netdyno.nas.search.bayes.acquisition import log_expected_improvement, log_probability_below
from netdyno.nas.search.bayes.points import in_cube
from netdyno.nas.space import Population, Space

FIRST = 4
"""Cascades of networks that are little alike, before there is a model."""
CANDIDATES = 3000
LEARNT = 5
"""Combinations of thresholds of an evaluation that the model learns from, beside the best: more are no news."""
COMBINED = 800
"""Cascades of networks that are trained already, and are swept after each evaluation."""
MODELLED = 200
"""Cascades that the model learns from, the best half of them and others at random."""
NEAR = 0.3
"""How far a candidate near the best strays, as a share of what there is."""
MOST_GRID = 1_000_000


def optimise(
    problem: CascadeProblem, method: str, evaluations: int, seed: int = 0, progress: Progress = silent
) -> list[Design]:
    """The best cascade after each evaluation, as far as that method knows it.

    Methods are ``bo-plus``, ``bo``, ``random`` (with sweeps), ``static`` (one evaluation) and ``grid`` (all of them).

    Raises:
        UnknownName: no such method.
        InputError: no evaluation, or a grid too large.
        MissingExtra: BoTorch is not installed, and the method needs it.
    """
    if method not in METHODS:
        raise UnknownName("way to find a cascade", method, METHODS)
    EVALUATIONS.check(evaluations)
    SEED.check(seed)
    found: list[Design] = []
    for number, design in zip(range(evaluations), METHODS[method](problem, seed), strict=False):
        found.append(problem.better([found[-1], design]) if found else design)
        progress("cascades", number + 1, evaluations, f"{found[-1].error_pct:.2f} %, {found[-1].cost:.4g}")
    return found


def _bo_plus(problem: CascadeProblem, seed: int) -> Iterator[Design]:
    """Evaluations with sweeps, of what was trained together and of what was not: all of it is known already."""
    asked = _Asked(problem, seed)
    while True:
        X, _ = asked.next(new=True)
        swept, cost = problem.sweep(X)
        for flat in asked.generator.choice(cost.size, min(LEARNT, cost.size), replace=False).tolist():
            asked.learn(problem.pick(X, swept, cost, flat))
        asked.learn(problem.pick(X, swept, cost, problem.goal.best(swept.error_pct, cost)))
        for other in asked.combinations(X):
            asked.learn(problem.best_thresholds(other))
        yield problem.better(asked.designs)


def _bo(problem: CascadeProblem, seed: int) -> Iterator[Design]:
    """Evaluations of one choice of thresholds each."""
    asked = _Asked(problem, seed)
    while True:
        design = problem.evaluate(*asked.next())
        asked.learn(design)
        yield design


def _random(problem: CascadeProblem, seed: int) -> Iterator[Design]:
    """Random sizes, the best thresholds of each."""
    generator = np.random.default_rng(seed)
    while True:
        yield problem.best_thresholds(_by_size(problem.space, problem.space.sample(problem.networks, generator)))


def _static(problem: CascadeProblem, _: int) -> Iterator[Design]:
    """Networks as they would be without a cascade, from the smallest to the largest; thresholds alone are chosen."""
    space = problem.space
    at = np.linspace(0, 1, problem.networks)[:, None]
    ends = space.smallest() + at * (space.largest() - space.smallest())
    yield problem.best_thresholds(space.canonical(np.rint(ends).astype(np.int64)))


def _grid(problem: CascadeProblem, _: int) -> Iterator[Design]:
    """Every cascade of the space, smaller networks first, with its best thresholds.

    Raises:
        InputError: there are more than a million.
    """
    space = problem.space
    count = int(np.prod(space.cardinalities.astype(float)))
    if count**problem.networks > MOST_GRID:
        raise InputError(f"a grid of {count:,} networks each is too large for cascades of {problem.networks}")
    every = np.array(list(product(*map(range, space.cardinalities.tolist()))), np.int64)
    for chosen in product(every, repeat=problem.networks):
        yield problem.best_thresholds(np.array(chosen))


METHODS: dict[str, Callable[[CascadeProblem, int], Iterator[Design]]] = {
    "bo-plus": _bo_plus,
    "bo": _bo,
    "random": _random,
    "static": _static,
    "grid": _grid,
}


class _Asked:
    """What was evaluated, as points of a cube: the genes of each network, then the thresholds."""

    def __init__(self, problem: CascadeProblem, seed: int) -> None:
        require("botorch", extra="lab", purpose="Bayesian optimisation")
        self.problem, self.generator = problem, np.random.default_rng(seed)
        self.count = 0
        self.designs: list[Design] = []
        self.known: set[bytes] = set()
        self.trained: dict[bytes, Population] = {}

    def learn(self, design: Design) -> None:
        """Remember what a cascade came to."""
        self.designs.append(design)
        self.known.add(design.X.tobytes())

    def combinations(self, X: Population) -> list[Population]:
        """Cascades of newly trained networks and known ones, smaller ones first, as many as are swept at a time."""
        new = [genes for genes in X if genes.tobytes() not in self.trained]
        self.trained |= {genes.tobytes(): genes for genes in X}
        every = np.array(list(self.trained.values()))
        chosen = self.generator.integers(len(every), size=(2 * COMBINED, self.problem.networks))
        found: dict[bytes, Population] = {}
        for position, row in enumerate(chosen if new else ()):
            cascade = every[row]
            cascade[0] = new[position % len(new)]
            cascade = _by_size(self.problem.space, cascade)
            if len(np.unique(cascade, axis=0)) == len(cascade) and cascade.tobytes() not in self.known:
                found[cascade.tobytes()] = cascade
        return list(found.values())[:COMBINED]

    def next(self, *, new: bool = False) -> tuple[Population, Floats]:
        """Sizes ``(networks, genes)`` and thresholds to evaluate; ``new`` sizes, if there are any."""
        X, thresholds = self._candidates()
        if new:
            unknown = np.array([any(genes.tobytes() not in self.trained for genes in own) for own in X])
            X, thresholds = (X[unknown], thresholds[unknown]) if unknown.any() else (X, thresholds)
        worth = self._unlike(X) if self.count < FIRST else self._promise(X, thresholds)
        self.count += 1
        chosen = int(worth.argmax())
        return X[chosen], thresholds[chosen]

    def _candidates(self) -> tuple[Population, Floats]:
        """Cascades drawn anywhere, the smaller network first, and near the best: ``(n, networks, genes)``."""
        space, networks, generator = self.problem.space, self.problem.networks, self.generator
        X = space.sample(CANDIDATES * networks, generator).reshape(CANDIDATES, networks, -1)
        X = np.stack([_by_size(space, own) for own in X])
        thresholds = generator.random((CANDIDATES, networks - 1))
        if self.designs:
            best, n = self.problem.better(self.designs), CANDIDATES // 2
            steps = generator.normal(0, NEAR, (n, *best.X.shape)) * space.cardinalities
            moved = np.where(generator.random(steps.shape) < 0.5, np.rint(best.X + steps), best.X)
            X[-n:] = np.clip(moved, 0, space.cardinalities - 1).astype(np.int64)
            thresholds[-n:] = np.clip(best.thresholds + generator.normal(0, NEAR, (n, networks - 1)), 0, 1)
        return space.canonical(X.reshape(-1, X.shape[2])).reshape(X.shape), thresholds

    def _unlike(self, X: Population) -> Floats:
        """How far the networks of cascades lie from one another and from all before, at the nearest, ``(n,)``."""
        networks = X.shape[1]
        own = in_cube(self.problem.space, X.reshape(-1, X.shape[2])).reshape(len(X), networks, -1)
        before = np.concatenate([each.X for each in self.designs]) if self.designs else X[0, :0]
        known = in_cube(self.problem.space, np.unique(before, axis=0))
        within = [own[:, i] - own[:, j] for i in range(networks) for j in range(i)]
        apart = [own[:, i] - each for i in range(networks) for each in known]
        found: Floats = np.min([(each**2).sum(axis=1) for each in within + apart], axis=0)
        return found

    def _promise(self, X: Population, thresholds: Floats) -> Floats:
        """Expected improvement times the probability that the limit is kept, in logarithms, ``(n,)``."""
        from netdyno.nas.search.bayes.surrogate import Surrogate

        goal = self.problem.goal
        error, cost = (np.array([getattr(each, name) for each in self.designs]) for name in ("error_pct", "cost"))
        order = np.lexsort(goal.split(error, cost)[::-1])
        kept = np.concatenate([order[: MODELLED // 2], self.generator.permutation(order[MODELLED // 2 :])])[:MODELLED]
        error, cost, designs = error[kept], cost[kept], [self.designs[i] for i in kept]
        known = self._points(np.stack([each.X for each in designs]), np.stack([each.thresholds for each in designs]))
        broken, value = goal.split(error, cost)
        limited, limit = (error, goal.error_pct) if goal.error_pct is not None else (cost, goal.cost)
        assert limit is not None
        aim, bound = (Surrogate(known, own, log=bool((own > 0).all())) for own in (value, limited))
        at = self._points(X, thresholds)
        likely = log_probability_below(*bound(at), bound.in_units(limit))
        if not (broken == 0).any():
            return likely
        return likely + log_expected_improvement(*aim(at), aim.in_units(float(value[broken == 0].min())))

    def _points(self, X: Population, thresholds: Floats) -> Floats:
        flat = in_cube(self.problem.space, X.reshape(-1, X.shape[-1])).reshape(len(X), -1)
        return np.concatenate([flat, thresholds], axis=1)


def _by_size(space: Space, X: Population) -> Population:
    """Networks in the order of their work."""
    ordered: Population = X[np.argsort(space.macs(X), kind="stable")]
    return ordered
