"""Latency while a device heats up."""

from __future__ import annotations

import pytest

from netdyno.devices.cpu import CpuDevice
from netdyno.devices.device import Settings
from netdyno.exporters.writers import write
from netdyno.profiler.layers import Overhead
from netdyno.profiler.lower import lower
from netdyno.profiler.sustained import Point, summarize, sustain

pytestmark = pytest.mark.alone


def curve(latencies: list[float], faults: dict[int, str] | None = None) -> list[Point]:
    return [Point(float(i), ms, 10, {}, (faults or {}).get(i, "")) for i, ms in enumerate(latencies)]


def test_one_that_throttles() -> None:
    hot = "throttled by heat (moderate)"
    report = summarize(curve([10.0] * 40 + [13.0] * 60, {40: hot, 41: hot}))
    assert (report.start_ms, report.end_ms, report.slower_from_s) == (10.0, 13.0, 40.0)
    assert report.slowdown_pct == pytest.approx(30)
    assert report.faults == (hot,)


def test_one_that_does_not() -> None:
    """A hiccup is no slowdown, nor is one at the very end."""
    report = summarize(curve([10.0] * 50 + [20.0] + [10.1] * 48 + [20.0]))
    assert report.slower_from_s is None
    assert report.slowdown_pct == pytest.approx(1)


def test_one_that_recovers() -> None:
    assert summarize(curve([10.0] * 30 + [15.0] * 30 + [10.0] * 40)).slower_from_s is None


def test_the_shortest_time_is_a_point(cpu: CpuDevice) -> None:
    assert len(list(sustain(write(lower(Overhead()), "tflite"), cpu, Settings(), 1e-9))) == 1


def test_a_single_point() -> None:
    report = summarize(curve([10.0]))
    assert (report.seconds, report.slowdown_pct, report.slower_from_s) == (0.0, 0.0, None)


def test_on_a_device(cpu: CpuDevice) -> None:
    points = list(sustain(write(lower(Overhead()), "tflite"), cpu, Settings(), 2.5))
    assert 2 <= len(points) <= 4
    assert points[0].inferences > 100
    assert all(point.latency_ms > 0 for point in points)
    assert [point.seconds for point in points] == sorted(point.seconds for point in points)
