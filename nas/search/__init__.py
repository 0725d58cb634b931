"""Searchers, one a file; each registers under the entry point group ``netdyno.searchers``."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from netdyno.base.errors import InputError
from netdyno.base.objective import Objective
from netdyno.base.progress import Progress, silent
from netdyno.base.registry import Registry
from netdyno.nas.search.front import Front
from netdyno.nas.space import Space

SEARCHERS = Registry("search method", "netdyno.searchers")


def search(
    space: Space,
    objectives: Sequence[Objective],
    method: str = "ofa2",
    evaluations: int = 100_000,
    seed: int = 0,
    progress: Progress = silent,
    **options: Any,
) -> Front:
    """Search a space for the architectures that no other beats in every objective.

    Raises:
        UnknownName: no such method.
        InputError: fewer than one evaluation or objective, or an option that the method does not take.
    """
    searcher = SEARCHERS.load(method)
    if evaluations < 1 or not objectives:
        raise InputError("a search needs at least one objective and one evaluation")
    fixed = {"evaluations": evaluations, "seed": seed, "progress": progress}
    try:
        call = signature(searcher).bind(space, list(objectives), **fixed, **options)
    except TypeError as error:
        raise InputError(f"search method {method}: {error}") from error
    front: Front = searcher(*call.args, **call.kwargs)
    return front
