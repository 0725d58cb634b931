"""OFA²: many-objective search of a supernet's space by an evolutionary algorithm (Ito & Von Zuben 2023).

Whole populations are arrays: one generation is a handful of array operations, whatever its size.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from netdyno.base.errors import InputError, UnknownName
from netdyno.nas import pareto
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.local import Neighbourhoods
from netdyno.nas.search.operators import OPERATORS, spread
from netdyno.nas.search.problem import Scores
from netdyno.nas.search.survival import SURVIVALS
from netdyno.nas.space import Space

_LONG = 1000
"""How many populations make a search long: generations may be larger, which takes less time."""
_LOCAL = 0.3
"""Share of a long search that local search finishes; a short one does better without."""
_EXPLORED = 400
"""About how many neighbours are evaluated at a time."""


def search_ofa2(
    evaluate: Evaluator,
    seed: int,
    *,
    algorithm: str = "nsga2",
    operators: str = "parts",
    population: int = 100,
    children: int | None = None,
    mutation: float | None = None,
    local: float | None = None,
) -> None:
    """Evolution of a population, survivors chosen by ``nsga2``, ``sms-emoa`` or ``spea2``.

    ``operators``: ``parts`` mates who is near and exchanges whole parts of the network, ``published`` single genes.
    A generation has as many ``children`` as the ``population`` has members, or four times as many in a long search.
    ``mutation`` is the probability that a gene is set anew, by default that of the operators. In the last share of
    the evaluations, ``local``, a generation is what lies one gene away from the front, until all of that was seen; by
    default 0.3 in a long search by ``parts``. Of equal objectives one survives.

    Raises:
        UnknownName: no such algorithm or operators.
        InputError: a population, a generation, a mutation or a share that cannot be.
    """
    long = evaluate.limit >= _LONG * population
    children = population * (4 if long else 1) if children is None else children
    local = (_LOCAL if long and operators == "parts" else 0.0) if local is None else local
    if population < 1 or children < 1:
        least = min(population, children)
        raise InputError(f"a population and a generation have at least one architecture, not {least}")
    for name, share in (("probability of mutation", mutation or 0.0), ("share of local search", local)):
        if not 0 <= share <= 1:
            raise InputError(f"a {name} is from 0 to 1, not {share}")
    for kind, name, known in (("algorithm", algorithm, SURVIVALS), ("operators", operators, OPERATORS)):
        if name not in known:
            raise UnknownName(kind, name, known)
    vary, survive = OPERATORS[operators](evaluate.space), SURVIVALS[algorithm]
    vary = vary if mutation is None else replace(vary, mutation=mutation)
    generator = np.random.default_rng(seed)
    draw = Space.sample if operators == "published" else spread
    X = evaluate.space.canonical(evaluate.first(population, generator, draw))
    scores = evaluate(X)
    fitness = np.zeros(len(X))
    near, nothing = Neighbourhoods(evaluate, generator), X[:0]
    while True:
        born = near.about(_EXPLORED) if evaluate.left < local * evaluate.limit else nothing
        if not len(born):
            born = vary(X, scores.F, fitness, children, generator)
        X, scores = np.concatenate([X, born]), Scores.join(scores, evaluate(born))
        distinct = pareto.distinct(scores.F)
        chosen, fitness = survive(scores[distinct], population)
        X, scores = X[distinct[chosen]], scores[distinct[chosen]]


search_nsga2 = partial(search_ofa2, algorithm="nsga2")
search_sms_emoa = partial(search_ofa2, algorithm="sms-emoa")
search_spea2 = partial(search_ofa2, algorithm="spea2")
