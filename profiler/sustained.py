"""A model's latency while the device heats up: work without a break, and what the device says of itself meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.progress import Progress, silent
from netdyno.devices.device import Device, Session, Settings
from netdyno.profiler.measure import MOST_IN_A_CALL

POINT_S = 1.0
EDGE = 0.1
"""Share of the time at either end that is called its start and its end."""
TELLING = ("thermal_status", "cpu_c", "skin_c", "battery_c", "temperature_c", "clock_mhz")
"""What of a device's state belongs to such a curve."""
BEGIN_WITH = 3


@dataclass(frozen=True)
class Point:
    """About a second of work, ``seconds`` after the first: the median latency, and the device's state at its end.

    ``fault`` says what happened to the device meanwhile, such as throttling; it is what this is about, not a reason
    to leave the point out.
    """

    seconds: float
    latency_ms: float
    inferences: int
    state: Mapping[str, float]
    fault: str = ""


@dataclass(frozen=True)
class Sustained:
    """A curve in short: medians of its first and last tenth in ms, how much slower that is, and from when on.

    ``slower_from_s`` is when latency left the start's by more than 5 % for good; None if it never did.
    """

    seconds: float
    start_ms: float
    end_ms: float
    slowdown_pct: float
    slower_from_s: float | None
    faults: tuple[str, ...]


def sustain(
    artifact: Artifact, device: Device, settings: Settings, duration_s: float, progress: Progress = silent
) -> Iterator[Point]:
    """Points of a curve, each as soon as it is measured.

    Raises:
        ModelError: the runtime refuses the model.
        DeviceError: the device was lost.
    """
    with device.open(artifact, settings) as session:
        repeat = _repeat(session)
        before = device.state()
        began, elapsed = time.monotonic(), 0.0
        while not elapsed or elapsed < duration_s:  # one point at least
            latency_ns = _work(session, repeat)
            latency_ms = float(np.median(latency_ns)) / 1e6
            after = device.state()
            told = {name: float(after[name]) for name in TELLING if isinstance(after.get(name), int | float)}
            progress("sustained", int(elapsed), int(duration_s), f"{latency_ms:.4g} ms")
            yield Point(elapsed, latency_ms, len(latency_ns), told, "; ".join(device.faults(before, after)))
            before, elapsed = after, time.monotonic() - began
        progress("sustained", 1, 1)


def _work(session: Session, repeat: int) -> NDArray[np.int64]:
    """Latencies in ns of about a second of work, in as few calls as can be."""
    began = time.monotonic()
    calls = [session.time(repeat)]
    took = time.monotonic() - began
    while time.monotonic() + took / 2 < began + POINT_S:
        calls.append(session.time(repeat))
    return np.concatenate(calls)


def _repeat(session: Session) -> int:
    """How often the model fits into a point, or into a call."""
    once_s = float(np.median(session.time(BEGIN_WITH))) / 1e9
    return int(np.clip(POINT_S / max(once_s, 1e-9), 1, MOST_IN_A_CALL))


def summarize(points: Sequence[Point], tolerance: float = 0.05) -> Sustained:
    """What a curve comes to; ``points`` are at least one."""
    latency_ms = np.array([point.latency_ms for point in points])
    edge = max(round(EDGE * len(points)), 1)
    start_ms, end_ms = float(np.median(latency_ms[:edge])), float(np.median(latency_ms[-edge:]))
    within = np.flatnonzero(latency_ms <= (1 + tolerance) * start_ms)
    later = int(within[-1]) + 1 if len(within) else 0
    faults = dict.fromkeys(point.fault for point in points if point.fault)
    return Sustained(
        seconds=points[-1].seconds,
        start_ms=start_ms,
        end_ms=end_ms,
        slowdown_pct=100 * (end_ms / start_ms - 1),
        # A tail shorter than the end is noise.
        slower_from_s=points[later].seconds if later <= len(points) - edge else None,
        faults=tuple(faults),
    )
