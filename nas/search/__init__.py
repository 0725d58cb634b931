"""Searchers, one a file; each registers under the entry point group ``netdyno.searchers``.

A searcher is a function of an :class:`~netdyno.nas.search.evaluator.Evaluator` and a seed, with options of its own.
It asks for scores of populations as long as there are evaluations left; what it finds, the evaluator remembers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from threadpoolctl import threadpool_limits

from netdyno.base.errors import InputError
from netdyno.base.objective import Constraint, Objective
from netdyno.base.progress import Progress, silent
from netdyno.base.ranges import EVALUATIONS, SEED
from netdyno.base.registry import Registry
from netdyno.nas.search.evaluator import Evaluator, Spent
from netdyno.nas.search.front import Front
from netdyno.nas.search.journal import Journal
from netdyno.nas.search.problem import Problem, make_problem
from netdyno.nas.space import Population, Space, format_space

SEARCHERS = Registry("search method", "netdyno.searchers")


def search(
    space: Space,
    objectives: Sequence[Objective],
    method: str = "ofa2",
    evaluations: int = 100_000,
    seed: int = 0,
    progress: Progress = silent,
    *,
    constraints: Sequence[Constraint] = (),
    start: Population | None = None,
    journal: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    limit_s: float = math.inf,
    **options: Any,
) -> Front:
    """Search a space for the architectures that no other beats in every objective.

    ``start (n, genes)`` are architectures to begin with, such as the front of another search. ``journal`` is a
    file that keeps every evaluation: the same search again goes on from it. ``identity`` says what the objectives
    stand on, so that another search's journal is not taken for this one's. After ``limit_s`` seconds, over all calls
    with one journal, nothing new is evaluated.

    Raises:
        UnknownName: no such method.
        InputError: no objective, evaluations or a seed that cannot be, an option that the method does not take,
            constraints that no architecture keeps to, or a journal of another search.
    """
    searcher = find_searcher(method, options)
    problem = make_problem(space, objectives, constraints)
    EVALUATIONS.check(evaluations)
    SEED.check(seed)
    given = None if start is None else space.canonical(start)
    feasible = problem.feasible(seed) if constraints else None
    named = {"method": method, "seed": seed, "options": options, **(identity or {})}
    with nullcontext() if journal is None else Journal(journal, problem, _identity(problem, named)) as kept:
        evaluate = Evaluator(problem, evaluations, given, kept, progress, feasible, limit_s)
        # Populations are small matrices: several threads of a BLAS cost more than they bring.
        with suppress(Spent), threadpool_limits(1, user_api="blas"):
            searcher(evaluate, seed=seed, **options)
    return evaluate.front()


def find_searcher(method: str, options: Mapping[str, Any]) -> Any:
    """The searcher of a name.

    Raises:
        UnknownName: no such method.
        InputError: an option that it does not take, or not of this type.
    """
    searcher = SEARCHERS.load(method)
    try:
        signature(searcher).bind(None, seed=0, **options)
    except TypeError as error:
        raise InputError(f"search method {method}: {error}") from error
    hints = get_type_hints(searcher.func if isinstance(searcher, partial) else searcher)
    for name, value in options.items():
        if not fits(value, hints.get(name, Any)):
            raise InputError(f"search method {method}: {name} cannot be {value!r}")
    return searcher


def fits(value: Any, hint: Any) -> bool:
    """Whether an option is of the type that a searcher says."""
    if isinstance(hint, UnionType):
        return any(fits(value, each) for each in get_args(hint))
    if get_origin(hint) is Sequence:
        return isinstance(value, list | tuple | str) and all(fits(each, *get_args(hint)) for each in value)
    kind = {int: Integral, float: Real}.get(hint, object if hint is Any else hint)
    return isinstance(value, kind) and not isinstance(value, bool)


def _identity(problem: Problem, named: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "space": format_space(problem.space),
        "objectives": [objective.name for objective in problem.objectives],
        "constraints": [str(constraint) for constraint in problem.constraints],
        **named,
    }
