"""Regular points of a space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netdyno.base.objective import Objective
from netdyno.nas.search import search
from netdyno.nas.search.grid import compound, grid, tied
from netdyno.nas.space import make_space
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

Refuses = Callable[[Callable[[], object]], str]


def test_a_small_space_is_searched_whole() -> None:
    space = make_space("nasbench201")
    count = int(np.prod(space.cardinalities))
    assert len(np.unique(grid(space, count), axis=0)) == count
    objective = Objective("sum", lambda X: X.sum(axis=1).astype(float))
    front = search(space, [objective], "grid", count + 5)
    assert front.evaluations == count
    assert front.F.tolist() == [[0.0]]


def test_a_large_space_by_groups(narrow: OfaMobileNetV3) -> None:
    points = grid(narrow, 1000)
    assert len(points) == 3 * 3 * 3 * 3
    same = narrow.uniform(5, 6, 3, 56)
    assert any(np.array_equal(narrow.canonical(same)[0], row) for row in points)
    assert len(tied(narrow, {"r": [0, 2]})) == 2
    front = search(narrow, [Objective("macs", lambda X: narrow.macs(X).astype(float))], "grid", 30)
    assert front.evaluations == 30, "a part of the grid"


def test_compound_scaling(narrow: OfaMobileNetV3, refuses: Refuses) -> None:
    points = compound(narrow, ("d", "e", "r"))
    macs = np.sort(narrow.macs(points))
    assert macs[0] == narrow.macs(narrow.smallest())[0]
    assert macs[-1] == narrow.macs(narrow.uniform(3, 6, 4, 64))[0], "all grown, by no split but the even one"
    assert (points[:, narrow.columns["ks"]] == 0).all(), "what is not scaled stays"
    depths_alone = narrow.uniform(3, 3, 4, 48)
    assert any(np.array_equal(narrow.canonical(depths_alone)[0], row) for row in points)
    assert "cannot scale 'w'" in refuses(lambda: compound(narrow, ["w"]))
    front = search(narrow, [Objective("macs", lambda X: narrow.macs(X).astype(float))], "grid", 500, start=points)
    assert front.evaluations == len(points)
