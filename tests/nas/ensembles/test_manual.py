from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from netdyno.nas.ensembles.ensemble import canonical, count
from netdyno.nas.ensembles.manual import FEWEST, manual_ensembles


def _staircase(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.stack([np.arange(n, 0, -1.0), np.arange(n, dtype=float)], axis=1)  # the last is the fastest


def test_six_groups_of_each_size_and_one_spread_over_all() -> None:
    members = manual_ensembles(_staircase(30))
    assert members.shape == (43, 8)
    assert Counter(count(members).tolist()) == {2: 6, 3: 6, 4: 6, 5: 6, 6: 6, 7: 6, 8: 7}
    assert len(np.unique(members, axis=0)) == 43
    np.testing.assert_array_equal(canonical(members), members)
    assert members[0, :2].tolist() == [28, 29] and members[5, :2].tolist() == [0, 1]
    assert members[-1].tolist() == [0, 4, 8, 12, 17, 21, 25, 29]
    for row in members[:-1]:
        assert np.diff(row[row >= 0]).tolist() == [1] * (count(row[None])[0] - 1)


def test_the_shortest_front_still_gives_43_different_ones() -> None:
    assert len(np.unique(manual_ensembles(_staircase(FEWEST)), axis=0)) == 43


def test_dominated_subnets_stay_out_while_there_are_enough() -> None:
    F = np.concatenate([_staircase(20), _staircase(20) + 5.5])
    assert manual_ensembles(F).max() < 20
    short = np.concatenate([_staircase(10), _staircase(20) + 10.5])
    assert manual_ensembles(short).max() >= 10


def test_a_pool_too_small(refuses: Callable[[Callable[[], object]], str]) -> None:
    assert "13" in refuses(lambda: manual_ensembles(_staircase(12)))
