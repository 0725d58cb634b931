from __future__ import annotations

import numpy as np
import pytest

from netdyno.base.errors import InputError
from netdyno.nas.space import make_space
from netdyno.profiler.cost.between import between_rows
from netdyno.profiler.layers import GlobalPool, Linear
from netdyno.profiler.table import LookupTable, make_rows

COLUMNS = ["latency_ms", "memory_bytes"]


def rows(*sides: int) -> dict[str, dict[str, float]]:
    return {
        GlobalPool(side, side, 8).key: {"latency_ms": 0.1 + 0.01 * side**2, "memory_bytes": side**2} for side in sides
    }


def test_costs_that_grow_with_the_pixels_are_met() -> None:
    measured = make_rows("layer", rows(4, 8, 16))
    found = between_rows(measured, [GlobalPool(6, 6, 8), GlobalPool(10, 10, 8), GlobalPool(8, 8, 8)], COLUMNS)
    assert list(found.index) == [GlobalPool(6, 6, 8).key, GlobalPool(10, 10, 8).key], "what is measured stays"
    np.testing.assert_allclose(found["latency_ms"], [0.1 + 0.36, 0.1 + 1.0])
    np.testing.assert_allclose(found["memory_bytes"], [36, 100])


def test_nothing_is_said_beyond_the_sizes_or_of_other_layers() -> None:
    measured = make_rows("layer", rows(4, 8) | {Linear(8, 3).key: {"latency_ms": 1.0}})
    for layer in (GlobalPool(3, 3, 8), GlobalPool(9, 9, 8), GlobalPool(6, 6, 9), Linear(7, 3)):
        assert between_rows(measured, [layer], COLUMNS).empty


def test_a_table_serves_a_space_of_sizes_between_its_own() -> None:
    measured, wanted, beyond = (
        make_space("ofa-mobilenetv3", width=0.25, resolutions=sizes, classes=10) for sizes in ([48, 64], [56], [80])
    )
    # An additive device whose layers take what their MACs take.
    costs = {layer.key: {"latency_ms": 0.001 + layer.macs / 1e7} for layer in measured.vocabulary()}
    table = LookupTable("t", {}, make_rows("layer", costs))
    X = wanted.sample(20, seed=0)
    truth = np.array([sum(0.001 + layer.macs / 1e7 for layer in wanted.layers(genes)) for genes in X])
    # Sides are rounded up at each stride, so MACs are not exactly on the line.
    np.testing.assert_allclose(table.cost(wanted)(X), truth, rtol=0.05)
    with pytest.raises(InputError, match="lacks"):
        table.cost(beyond)
