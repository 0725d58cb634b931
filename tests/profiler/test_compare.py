"""Which differences between two tables are real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from netdyno.base.errors import InputError, UnknownName
from netdyno.profiler.compare import Limit, compare_tables, parse_limit
from netdyno.profiler.journal import Visit
from netdyno.profiler.layers import Linear
from netdyno.profiler.samples import make_samples
from netdyno.profiler.table import LookupTable, make_rows

pytestmark = pytest.mark.alone

Refuses = Callable[[Callable[[], object]], str]
FIVE = [Limit("latency_ms", 0.05)]


def table(values: np.ndarray, half: float = 0.01, **conditions: Any) -> LookupTable:
    """A table of as many layers, each with an interval of ``half`` of its value on either side."""
    rows = {
        Linear(1 + i, 1).key: {
            "latency_ms": value,
            "latency_ms_low": value * (1 - half),
            "latency_ms_high": value * (1 + half),
        }
        for i, value in enumerate(values)
    }
    return LookupTable("t", conditions, make_rows("layer", rows))


def test_a_table_does_not_differ_from_itself() -> None:
    same = table(np.linspace(1, 2, 50))
    comparison = compare_tables(same, same)
    assert len(comparison.changes) == 50
    assert not any(change.significant for change in comparison.changes)
    assert not comparison.offences(FIVE) and not comparison.missing and not comparison.added


def test_noise_is_not_called_a_change() -> None:
    """200 layers measured twice with errors as large as their intervals say: hardly ever does one stand out."""
    generator = np.random.default_rng(0)
    truth = generator.uniform(1, 3, 200)
    runs = 50
    alarms = 0
    for _ in range(runs):
        first, second = (table(truth * np.exp(generator.normal(0, 0.01 / 1.96, 200))) for _ in range(2))
        alarms += any(change.significant for change in compare_tables(first, second).changes)
    assert alarms <= 0.14 * runs  # 5 % are expected; more than 7 of 50 has a chance below one in a thousand


def with_samples(truth: np.ndarray, generator: np.random.Generator, between: float, within: float) -> LookupTable:
    """A table whose three process starts differ by ``between`` and whose rounds differ by ``within``."""
    visits: dict[str, list[Visit]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for i, value in enumerate(truth):
        starts = [value * np.exp(generator.normal(0, between)) for _ in range(3)]
        visits[Linear(1 + i, 1).key] = own = [
            Visit(start, number, np.array([middle * np.exp(generator.normal(0, within))]))
            for start, middle in enumerate(starts)
            for number in range(4)
        ]
        rows[Linear(1 + i, 1).key] = {"latency_ms": float(np.median([visit.latency_ms[0] for visit in own]))}
    return LookupTable("t", {}, make_rows("layer", rows), samples=make_samples(visits))


def test_process_starts_that_differ_are_not_called_a_change() -> None:
    """Rounds agree to 0.1 % and starts to 2 %: judged by rounds alone nearly every layer would stand out."""
    generator = np.random.default_rng(0)
    truth = generator.uniform(1, 3, 100)
    alarms = 0
    for _ in range(50):
        first, second = (with_samples(truth, generator, 0.02, 0.001) for _ in range(2))
        alarms += any(change.significant for change in compare_tables(first, second).changes)
    assert alarms <= 7


def test_a_change_beyond_what_starts_do_is_found() -> None:
    generator = np.random.default_rng(0)
    truth = generator.uniform(1, 3, 100)
    slower = truth.copy()
    slower[:20] *= 1.2
    before, after = (with_samples(each, generator, 0.02, 0.001) for each in (truth, slower))
    found = {change.layer for change in compare_tables(after, before).offences(FIVE)}
    assert found == {Linear(1 + i, 1).key for i in range(20)}


def test_slower_layers_are_named_the_worst_first() -> None:
    before = np.full(40, 1.0)
    after = before.copy()
    after[[3, 7]] = 1.2, 1.5
    after[9] = 0.5
    offences = compare_tables(table(after), table(before)).offences(FIVE)
    assert [change.layer for change in offences] == [Linear(8, 1).key, Linear(4, 1).key]
    assert offences[0].fraction == pytest.approx(0.5)


def test_a_large_but_uncertain_change_is_no_offence() -> None:
    before, after = table(np.ones(10), half=0.3), table(np.full(10, 1.1), half=0.3)
    assert not compare_tables(after, before).offences(FIVE)


def test_a_certain_but_small_change_is_no_offence() -> None:
    comparison = compare_tables(table(np.full(10, 1.03), 0.001), table(np.ones(10), 0.001))
    assert all(change.significant for change in comparison.changes)
    assert not comparison.offences(FIVE)


def test_costs_without_intervals_differ_when_they_differ() -> None:
    first, second = table(np.ones(4)), table(np.ones(4))
    first.layers["memory_bytes"], second.layers["memory_bytes"] = 100, 120
    (limit,) = [Limit("memory_bytes", 0.1)]
    assert len(compare_tables(second, first).offences([limit])) == 4
    assert not compare_tables(first, second).offences([limit])


def test_layers_that_only_one_table_has() -> None:
    comparison = compare_tables(table(np.ones(3)), table(np.ones(5)))
    assert comparison.missing == (Linear(4, 1).key, Linear(5, 1).key) and not comparison.added
    invalid = table(np.ones(5))
    invalid.layers.loc[Linear(1, 1).key, "valid"] = 0
    assert compare_tables(invalid, table(np.ones(5))).missing == (Linear(1, 1).key,)


def test_tables_with_nothing_in_common(refuses: Refuses) -> None:
    other = replace(table(np.ones(2)), layers=make_rows("layer", {"overhead": {"latency_ms": 1.0}}))
    refuses(lambda: compare_tables(other, table(np.ones(2))))


def test_hostile_costs_are_left_out() -> None:
    broken = table(np.array([1.0, np.inf, np.nan, -1.0, 0.0]))
    comparison = compare_tables(broken, table(np.ones(5)))
    assert [change.layer for change in comparison.changes] == [Linear(1, 1).key]


def test_other_conditions_are_named() -> None:
    comparison = compare_tables(table(np.ones(2), threads=1, runtime="a"), table(np.ones(2), threads=2, runtime="a"))
    assert comparison.conditions == ("threads",)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("latency:5%", Limit("latency_ms", 0.05)),
        ("latency_ms:5", Limit("latency_ms", 0.05)),
        ("memory:0%", Limit("memory_bytes", 0.0)),
        ("energy:2.5%", Limit("energy_mj", 0.025)),
    ],
)
def test_limits(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["latency", "latency:", "latency:x%", "latency:-5%", "latency:nan%", "latency:inf%"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(InputError, match="latency:5%"):
        parse_limit(text)


def test_unknown_metrics_are_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'latency'"):
        parse_limit("latencies:5%")
