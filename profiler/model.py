"""Profile a model file: as a whole, and its operators as a table."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError, WorkerLost
from netdyno.base.progress import Progress, silent
from netdyno.devices.device import Device, Session, Settings
from netdyno.devices.worker import Hung
from netdyno.profiler.journal import Visit
from netdyno.profiler.layers import count_operators
from netdyno.profiler.measure import Method
from netdyno.profiler.operator_plan import Once
from netdyno.profiler.operators import OperatorsReport, profile_operators
from netdyno.profiler.profiling import describe
from netdyno.profiler.samples import make_samples
from netdyno.profiler.statistics import estimate, relative_spread
from netdyno.profiler.table import LookupTable, make_rows

DEFAULT_BUDGET_S = 20.0
VISIT_S = 0.05
LEAST_VISITS = 10
LEAST_SHARE = 0.1
"""Share of the budget that is for inferences, whatever loading takes."""


@dataclass(frozen=True)
class ModelReport:
    """A model's figures: latencies in ms with the median's 95 % interval, memory in bytes above an idle process.

    Minimum and percentiles are None where the runtime tells no single times, the interval where there is one reading.
    """

    runtime: str
    load_ms: float
    first_ms: float
    latency_ms: float
    latency_ms_low: float | None
    latency_ms_high: float | None
    latency_ms_min: float | None
    latency_ms_p90: float | None
    latency_ms_p99: float | None
    samples: int
    memory_bytes: int | None


def profile_model(
    artifact: Artifact,
    device: Device,
    settings: Settings,
    method: Method,
    progress: Progress = silent,
) -> ModelReport:
    """Measure a model until its median is tight or the budget (20 seconds by default) is spent.

    A worker that dies is replaced once; one that hangs is not.

    Raises:
        ModelError: the runtime refuses the model.
        DeviceError: the device was lost.
    """
    try:
        return _profile_once(artifact, device, settings, method, progress)
    except Hung:
        raise
    except WorkerLost:
        return _profile_once(artifact, device, settings, method, progress)


def profile_parts(
    artifact: Artifact,
    device: Device,
    settings: Settings,
    method: Method,
    progress: Progress = silent,
    whole: ModelReport | None = None,
) -> tuple[OperatorsReport | None, str]:
    """A model's operators under the device's roofs, or why there are none; ``whole`` is what is known already.

    Raises:
        DeviceError: the device was lost.
    """
    settings = replace(settings, runtime=device.runtime_for(artifact, settings))
    once = None if whole is None else Once(whole.latency_ms, whole.load_ms)
    progress("operators", 0, 1, "profiler")
    try:
        budget_s = method.budget_s or DEFAULT_BUDGET_S
        report = profile_operators(artifact, device, settings, budget_s=budget_s, once=once)
    except (ModelError, WorkerLost) as error:
        return None, str(error)
    finally:
        progress("operators", 1, 1)
    return report, ""


def model_table(
    artifact: Artifact, device: Device, settings: Settings, whole: ModelReport, parts: OperatorsReport | None
) -> LookupTable:
    """A model's figures as a table: its operators are the layers, it is the one network."""
    settings = replace(settings, runtime=whole.runtime)
    reports = parts.operators if parts is not None else ()
    keys = [operator.key for operator in count_operators((own.type, own.name) for own in reports)]
    operators = {
        key: {
            "latency_ms": own.latency_ms,
            "latency_ms_low": own.latency_ms_low,
            "latency_ms_high": own.latency_ms_high,
            "samples": own.samples,
            "starts": len(own.starts_ms),
            "method": "profiled" if own.latency_ms else "profiled: below the profiler's resolution",
            "valid": int(own.latency_ms > 0),
        }
        for key, own in zip(keys, reports, strict=True)
    }
    visits = {
        key: [Visit(start, 1, np.array([time])) for start, time in enumerate(own.starts_ms, start=1)]
        for key, own in zip(keys, reports, strict=True)
        if min(own.starts_ms) > 0
    }
    figures = ("latency_ms", "latency_ms_low", "latency_ms_high", "memory_bytes", "samples")
    row = {name: getattr(whole, name) for name in figures} | {"starts": 1, "method": "measured"}
    conditions = describe(device, settings, artifact.name) | {"sha256": artifact.sha256}
    networks = make_rows("genes", {artifact.name: row})
    return LookupTable(artifact.name, conditions, make_rows("layer", operators), networks, make_samples(visits))


def _profile_once(
    artifact: Artifact, device: Device, settings: Settings, method: Method, progress: Progress
) -> ModelReport:
    budget_s = method.budget_s or DEFAULT_BUDGET_S
    until = time.monotonic() + budget_s
    with device.open(artifact, settings) as session:
        memory = session.peak_memory_bytes() if method.memory else None
        visits = _sample(session, method, max(until - time.monotonic(), LEAST_SHARE * budget_s), progress)
        if session.averaged:  # what is told of all inferences of a call is one reading
            visits = [visit[:1] for visit in visits]
        figure = estimate(visits, [1] * len(visits))
        every = np.concatenate(visits)
        return ModelReport(
            runtime=device.runtime_for(artifact, settings),
            load_ms=session.load.load_ms,
            first_ms=session.load.first_ms,
            latency_ms=figure.median,
            latency_ms_low=figure.low if figure.samples > 1 else None,
            latency_ms_high=figure.high if figure.samples > 1 else None,
            latency_ms_min=None if session.averaged else float(every.min()),
            latency_ms_p90=None if session.averaged else float(np.percentile(every, 90)),
            latency_ms_p99=None if session.averaged else float(np.percentile(every, 99)),
            samples=figure.samples,
            memory_bytes=memory,
        )


def _sample(session: Session, method: Method, budget_s: float, progress: Progress) -> list[NDArray[np.float64]]:
    """Latencies in ms, an array a visit, after a tenth of the budget (one second at most) of warm-up.

    What is so slow that it leaves no time for more is warm by its loading, which has run it once. What is quick has a
    visit in any case: its first inference is no measure of the others.
    """
    began, budget_s = time.monotonic(), max(budget_s, VISIT_S)
    warm_s = min(budget_s / 10, 1.0)
    latency_ms = session.time(1) / 1e6
    if latency_ms[0] / 1e3 > budget_s / 2:
        progress("latency", 1000, 1000)
        return [latency_ms]
    while time.monotonic() - began < warm_s:
        latency_ms = session.time(1) / 1e6
    repeat = int(np.clip(VISIT_S * 1e3 / latency_ms[0], 1, 1000))
    visits: list[NDArray[np.float64]] = []
    medians: list[float] = []
    while True:
        visits.append(session.time(repeat) / 1e6)
        medians.append(float(np.median(visits[-1])))
        spent_s = time.monotonic() - began
        progress("latency", int(1000 * min(spent_s / budget_s, 1.0)), 1000, f"median {np.median(medians):.4g} ms")
        tight = len(visits) >= LEAST_VISITS and relative_spread(medians) <= method.spread
        if tight or spent_s >= budget_s:
            progress("latency", 1000, 1000)
            return visits
