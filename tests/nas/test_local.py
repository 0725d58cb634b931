from __future__ import annotations

import numpy as np

from netdyno.base.objective import Objective
from netdyno.nas.search import search
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.local import Neighbourhoods
from netdyno.nas.search.problem import make_problem, neighbours
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3


def test_each_member_of_the_front_is_explored_once(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    evaluate = Evaluator(make_problem(space, objectives), 10_000)
    evaluate(space.canonical(space.sample(200, 0)))
    front = evaluate.best
    near = Neighbourhoods(evaluate, np.random.default_rng(0))
    assert len(front) > 5
    seen = []
    while len(found := near.about(250)):
        np.testing.assert_array_equal(space.canonical(found), found)
        seen.append(found)
    every = np.concatenate(seen)
    assert 100 * len(seen) < len(every) <= 300 * len(seen)
    for genes in front:
        own = _near(space, genes)
        assert {row.tobytes() for row in own} <= {row.tobytes() for row in every}
    assert len(every) == sum(len(_near(space, genes)) for genes in front)


def _near(space: OfaMobileNetV3, genes: np.ndarray) -> np.ndarray:
    """The distinct networks one gene away."""
    near = np.unique(space.canonical(neighbours(space, genes[None])[0]), axis=0)
    return near[(near != genes).any(axis=1)]


def test_a_network_is_no_neighbour_of_itself(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    """Genes of blocks beyond a unit's depth make no difference, and no two neighbours are the same network."""
    evaluate = Evaluator(make_problem(space, objectives), 10_000)
    evaluate(space.smallest()[None])
    near = Neighbourhoods(evaluate, np.random.default_rng(0)).about(1)
    active = space.active(space.smallest()[None])[0]
    assert len(near) == (space.cardinalities - 1)[active].sum()
    assert len(np.unique(near, axis=0)) == len(near)
    assert (near != space.smallest()).any(axis=1).all()


def test_nothing_near_by_is_better_in_the_end(space: OfaMobileNetV3, objectives: list[Objective]) -> None:
    front = search(space, objectives[1:], "ofa2", 3000, seed=0, population=20, local=0.5)
    near = space.canonical(neighbours(space, front.X[:1])[0])
    assert (objectives[1].evaluate(near) >= front.F[0, 0]).all()
    assert len(search(space, objectives, "sms-emoa", 500, seed=0, population=20, local=1)) > 5
