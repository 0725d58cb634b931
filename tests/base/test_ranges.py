from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netdyno.base.ranges import SEED, Range

Refuses = Callable[[Callable[[], object]], str]


@pytest.mark.parametrize("value", [1, 3, np.int64(2), np.uint8(3)])
def test_whole_numbers_within(value: int) -> None:
    assert Range("a thing", 1, 3).check(value) == value


@pytest.mark.parametrize(
    "value", [0, 4, -1, 2.0, 2.5, float("nan"), True, "2", None, 10**400, pytest.param(-(10**9999), id="9999 digits")]
)
def test_all_else_is_refused(value: object, refuses: Refuses) -> None:
    assert refuses(lambda: Range("a thing", 1, 3).check(value)).startswith(
        "a thing must be a whole number from 1 to 3"
    )


def test_seeds_are_what_every_library_takes() -> None:
    np.random.default_rng(SEED.high)
    np.random.RandomState(SEED.high)
