"""Evolution of ensembles: NSGA-II on sets of members (OFA³, Ito, Da Silva & Von Zuben 2024), operators of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.objective import Objective
from netdyno.base.progress import Progress, silent
from netdyno.nas import pareto
from netdyno.nas.ensembles.ensemble import SIZES, Ensembles, Sizes, canonical, check, count, draw, sample
from netdyno.nas.search.operators import tournament
from netdyno.nas.search.problem import Scores
from netdyno.nas.search.survival import nsga2

Floats = NDArray[np.float64]
_ATTEMPTS = 3


@dataclass(frozen=True)
class EnsembleFront:
    """Ensembles that no other beats in every objective, sorted by the first.

    ``members``: ``(n, seats)`` int64, canonical. ``F``: ``(n, objectives)`` float64, all minimised.
    """

    objectives: tuple[str, ...]
    members: Ensembles
    F: Floats
    evaluations: int

    def hypervolume(self, ref: Sequence[float]) -> float:
        """Exact hypervolume up to the reference point ``ref``, one value an objective.

        Raises:
            InputError: not one value an objective.
        """
        if len(ref) != len(self.objectives):
            raise InputError(f"the reference point needs {len(self.objectives)} values, not {len(ref)}")
        return pareto.hypervolume(self.F, ref)

    def __len__(self) -> int:
        return len(self.members)


def front_of(members: Ensembles, objectives: Sequence[Objective]) -> EnsembleFront:
    """The non-dominated of these ensembles ``(n, seats)``, such as those of manual sampling."""
    F = _score(members, objectives)
    return _front(members, F, objectives, len(members))


def evolve_ensembles(
    pool: int,
    objectives: Sequence[Objective],
    evaluations: int = 10_000,
    seed: int = 0,
    start: Ensembles | None = None,
    population: int = 100,
    mutation: float = 0.5,
    sizes: Sizes = SIZES,
    progress: Progress = silent,
) -> EnsembleFront:
    """The front of ensembles of a pool of that many subnets, by NSGA-II.

    ``start (n, seats)`` are ensembles to begin with, such as the front of another scenario; random ones fill the
    population up. ``mutation`` is the probability that a child gains, loses or swaps a member. Of equal objectives
    one survives.

    Raises:
        InputError: no objective, a pool too small, or an argument that cannot be.
    """
    if not objectives or evaluations < 1 or population < 2 or not 0 <= mutation <= 1:
        raise InputError(
            "evolution needs an objective, an evaluation, two ensembles, and a probability of mutation from 0 to 1"
        )
    generator = np.random.default_rng(seed)
    given = _given(start, pool, sizes)
    members = np.concatenate([given, sample(max(population - len(given), 0), pool, generator, sizes)])[:evaluations]
    F = _score(members, objectives)
    archive, spent = _front(members, F, objectives, len(members)), len(members)
    fitness = np.zeros(len(members))
    while spent < evaluations:
        children = vary(members, fitness, population, pool, mutation, sizes, generator)[: evaluations - spent]
        scores = _score(children, objectives)
        spent += len(children)
        both, both_F = np.concatenate([archive.members, children]), np.concatenate([archive.F, scores])
        archive = _front(both, both_F, objectives, spent)
        members, F = np.concatenate([members, children]), np.concatenate([F, scores])
        distinct = np.sort(np.unique(F, axis=0, return_index=True)[1])
        chosen, fitness = nsga2(Scores(F[distinct], np.zeros(len(distinct))), population)
        members, F = members[distinct[chosen]], F[distinct[chosen]]
        progress("ensembles", spent, evaluations, f"{len(archive)} on the front")
    return archive


def vary(
    members: Ensembles,
    fitness: Floats,
    n: int,
    pool: int,
    mutation: float,
    sizes: Sizes,
    generator: np.random.Generator,
) -> Ensembles:
    """``n`` children ``(n, most)`` of parents with ``fitness``, smaller is better.

    Children equal to a parent or to each other are mutated again, a few times.
    """
    mothers, fathers = (members[tournament(fitness, n, generator)] for _ in range(2))
    children = cross(mothers, fathers, sizes, generator)
    some = generator.random(n) < mutation
    children[some] = mutate(children[some], pool, sizes, generator)
    for _ in range(_ATTEMPTS):
        both = np.concatenate([members, children])
        first = np.unique(both, axis=0, return_index=True)[1]
        stale = ~np.isin(np.arange(len(both)), first)[len(members) :]
        if not stale.any():
            break
        children[stale] = mutate(children[stale], pool, sizes, generator)
    return children


def cross(mothers: Ensembles, fathers: Ensembles, sizes: Sizes, generator: np.random.Generator) -> Ensembles:
    """Children ``(n, most)``: of the union of both parents' members a random number, at random."""
    union = canonical(np.concatenate([mothers, fathers], axis=1))
    wanted = generator.integers(sizes.least, np.minimum(count(union), sizes.most) + 1)
    return draw(union, wanted, sizes.most, generator)


def mutate(members: Ensembles, pool: int, sizes: Sizes, generator: np.random.Generator) -> Ensembles:
    """Each ensemble ``(n, most)`` with a member more, one less, or one swapped for another, canonical.

    What cannot be done, as a ninth member or a third of a pool of two, becomes a swap, or nothing.
    """
    rows, held = np.arange(len(members)), count(members)
    action = generator.integers(3, size=len(members))  # 0: add, 1: drop, 2: swap
    adds = (action == 0) & (held < sizes.most)
    drops = (action == 1) & (held > sizes.least)
    chance = generator.random((len(members), pool + 1))
    chance[rows[:, None], members] = -1.0  # an empty seat strikes out the last column, which is nobody
    chance[:, pool] = -1.0
    newcomer = chance.argmax(axis=1)
    seat = np.where(adds, held, (generator.random(len(members)) * held).astype(np.int64))
    changed = members.copy()
    alters = drops | (held < pool)
    changed[rows[alters], seat[alters]] = np.where(drops, -1, newcomer)[alters]
    return canonical(changed)


def _given(start: Ensembles | None, pool: int, sizes: Sizes) -> Ensembles:
    """Ensembles to begin with, canonical, ``(n, most)``."""
    if start is None:
        return np.empty((0, sizes.most), np.int64)
    given = canonical(check(start, pool))
    held = count(given)
    if ((held < sizes.least) | (held > sizes.most)).any():
        raise InputError(f"ensembles to begin with must have {sizes.least} to {sizes.most} members")
    given = given[:, : sizes.most]
    return np.pad(given, ((0, 0), (0, sizes.most - given.shape[1])), constant_values=-1)


def _score(members: Ensembles, objectives: Sequence[Objective]) -> Floats:
    F = np.stack([np.asarray(objective.evaluate(members), float) for objective in objectives], axis=1)
    if not np.isfinite(F).all():
        raise InputError(f"an objective of an ensemble is not a number: {', '.join(o.name for o in objectives)}")
    return F


def _front(members: Ensembles, F: Floats, objectives: Sequence[Objective], spent: int) -> EnsembleFront:
    kept = pareto.non_dominated(F)
    kept = kept[np.lexsort(F[kept].T[::-1])]
    names = tuple(objective.name for objective in objectives)
    return EnsembleFront(names, members[kept], F[kept], spent)
