"""Plan of how often a model's operators are profiled within a budget, and the profiler's own cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError, WorkerLost
from netdyno.devices.device import Device, Settings
from netdyno.devices.operators import WARM_UP, OperatorProfile
from netdyno.exporters.graph import GraphBuilder
from netdyno.exporters.writers import write
from netdyno.profiler.layers import Overhead as OneCall
from netdyno.profiler.lower import lower
from netdyno.profiler.operator_work import OperatorWork
from netdyno.profiler.roofs import Roofs, measure_roofs
from netdyno.profiler.statistics import trimmed_mean

INFERENCES = 120
ENOUGH = 7
"""Inferences of a start below which fewer starts are better."""
STARTS = 3
"""Processes that profile one after the other: a restart moves figures more than an inference does."""
START_S = 0.8
"""Seconds that starting such a process takes, until it is measured."""
ROOFS_S = 2.0
"""Seconds that measuring roofs takes."""
SLACK = 0.05
"""Share of the budget that is worth spending beyond it."""
CHAIN = 64
"""Operators of the model that tells the profiler's own overhead."""


@dataclass(frozen=True)
class Once:
    """Time of one inference of a model and of loading it, in ms."""

    latency_ms: float
    load_ms: float


@dataclass(frozen=True)
class Overhead:
    """Time that the profiler adds to an operator, and a call of the runtime to its operators, in ms.

    The former is None where there was no time to measure it.
    """

    operator_ms: float | None = None
    call_ms: float = 0.0


class Clock:
    """The time that is left of a budget."""

    def __init__(self, budget_s: float) -> None:
        self._end = time.monotonic() + budget_s

    def left_s(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


@dataclass(frozen=True)
class Runs:
    """Profiles of a model, one a process start, of ``inferences`` in all, and the clock that still runs."""

    profiles: Sequence[OperatorProfile]
    once: Once
    overhead: Overhead
    inferences: int
    clock: Clock

    def roofs(self, device: Device, settings: Settings, works: Sequence[OperatorWork]) -> Roofs:
        """The device's roofs that the operators need, if there is time to measure them."""
        if self.clock.left_s() < ROOFS_S:
            return Roofs()
        try:
            return measure_roofs(device, settings, any(own.macs and own.precision == "int8" for own in works))
        except WorkerLost:
            return Roofs()


def run_profiles(artifact: Artifact, device: Device, settings: Settings, budget_s: float, once: Once | None) -> Runs:
    """Profile a model over as many inferences and process starts as a budget allows.

    Raises:
        ModelError: there is no time for one inference, or what :meth:`Device.profile_operators` raises.
        DeviceError: the device was lost.
    """
    clock = Clock(budget_s)
    once = _once(artifact, device, settings) if once is None else once
    once_s, start_s = once.latency_ms / 1e3, START_S + 2 * once.load_ms / 1e3
    if clock.left_s() + once_s < start_s + 2 * once_s:
        left_s = max(clock.left_s(), 0.0)
        raise ModelError(f"{left_s:.1f} s of the budget are left, too few for them; give a larger --budget")
    overhead = Overhead()
    if clock.left_s() > 2 * start_s + _taken(ENOUGH, once_s):
        began = time.monotonic()
        overhead = _overhead(device, settings)
        start_s = time.monotonic() - began + 2 * once.load_ms / 1e3
    reserved_s = ROOFS_S if clock.left_s() > ROOFS_S + start_s + _taken(ENOUGH, once_s) else 0.0
    starts, inferences = _plan(clock.left_s() - reserved_s, start_s, once_s, SLACK * budget_s)
    profiles = [device.profile_operators(artifact, settings, inferences)]
    with suppress(WorkerLost):  # a start that takes longer than the others did is one less
        while len(profiles) < starts and clock.left_s() - reserved_s > start_s + _taken(inferences, once_s):
            profiles.append(device.profile_operators(artifact, settings, inferences))
    return Runs(profiles, once, overhead, inferences * len(profiles), clock)


def _once(artifact: Artifact, device: Device, settings: Settings) -> Once:
    with device.open(artifact, settings) as session:
        return Once(float(session.time(2)[-1]) / 1e6, session.load.load_ms)


def _plan(left_s: float, start_s: float, once_s: float, least_s: float) -> tuple[int, int]:
    """Process starts, and inferences of each; of a single one as many as take that long at least."""
    for starts in range(STARTS, 1, -1):
        inferences = _inferences(left_s / starts - start_s, once_s)
        if inferences >= ENOUGH:
            return starts, min(inferences, -(-INFERENCES // STARTS))
    return 1, min(max(_inferences(max(left_s - start_s, least_s), once_s), 1), INFERENCES)


def _inferences(left_s: float, once_s: float) -> int:
    """Count of inferences of a start that a time is enough for."""
    most = int(left_s / (2 * once_s)) - WARM_UP
    return most if most >= WARM_UP else int(left_s / (4 * once_s))


def _taken(inferences: int, once_s: float) -> float:
    """Seconds that inferences of a start take: with the profiler and without, as many, and before that warming up."""
    return 2 * once_s if inferences == 1 else 2 * once_s * (inferences + min(inferences, WARM_UP))


def _overhead(device: Device, settings: Settings) -> Overhead:
    """Times of operators without work beyond those of the whole; and a call of a model with none."""
    file_format = device.formats[settings.runtime]
    builder = GraphBuilder("chain")
    x = builder.input("x", (1, 1, 1, 1))
    for i in range(CHAIN):
        x = builder.unary(("relu", "h_swish")[i % 2], x)
    profile = device.profile_operators(write(builder.build(x), file_format), settings, INFERENCES)
    operators_ms = sum(trimmed_mean(operator.latency_us) for operator in profile.operators) / 1e3
    whole_ms = trimmed_mean(profile.whole_us) / 1e3
    each_ms = max((operators_ms - whole_ms) / len(profile.operators), 0.0)
    return Overhead(each_ms, _call_ms(device, settings, file_format))


def _call_ms(device: Device, settings: Settings, file_format: str) -> float:
    with device.open(write(lower(OneCall()), file_format), settings) as session:
        session.time(WARM_UP)
        return float(np.median(session.time(INFERENCES))) / 1e6
