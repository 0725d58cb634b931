"""A user's own model, operator by operator: time, share, work, and which roof of the device each stands under.

The times are those of the runtime's own profiler; the whole is measured without it, in turns with it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from netdyno.base.artifact import Artifact
from netdyno.devices.device import Device, Settings
from netdyno.devices.operators import OperatorProfile
from netdyno.profiler.layers import count_operators
from netdyno.profiler.operator_plan import Once, Runs, run_profiles
from netdyno.profiler.operator_work import OperatorWork, works_of
from netdyno.profiler.roofs import Roofs
from netdyno.profiler.statistics import NORMAL_95, TRIMMED, trimmed_mean

BUDGET_S = 10.0
RESOLUTION_MS = 1e-3
"""Unit in which profilers count."""
LEAST_COVERED, MOST_COVERED = 0.8, 1.2
DELEGATES = ("XNNPACK", "GPU", "NNAPI", "CPUExecutionProvider")


@dataclass(frozen=True)
class OperatorReport:
    """An operator: mean latency over process starts with its interval, its share, its work, and its roof.

    Latency and work are those of all ``calls`` in one inference. The interval is None where one start is all there
    is, and works where nothing tells them; ``executed_macs`` hold the channels that the runtime adds to the model's
    own. ``roof`` is ``compute`` or ``memory``, whichever bounds its ratio of work to bytes; ``of_roof`` is the share
    of that roof that it reaches.
    """

    position: int
    type: str
    name: str
    provider: str
    latency_ms: float
    latency_ms_low: float | None
    latency_ms_high: float | None
    samples: int
    starts_ms: tuple[float, ...]
    share: float
    calls: float = 1.0
    macs: int | None = None
    executed_macs: int | None = None
    moved_bytes: int | None = None
    roof: str = ""
    of_roof: float | None = None


@dataclass(frozen=True)
class OperatorsReport:
    """A model's operators, and how much of an inference they add up to.

    ``whole_ms`` is an inference without the profiler, ``covered`` the operators' sum relative to it. ``overhead_ms``
    is what the profiler itself adds to each execution; it is taken off. ``call_ms`` is what a call of the runtime
    takes beside its operators. ``valid`` is whether all together make up the whole, within a fifth and what the
    profiler cannot resolve. ``macs`` and ``moved_bytes`` are sums over the operators of which they are known; of
    ``macs_unknown`` and ``moved_unknown`` operators they are not. ``partitions`` is how many parts of the model a
    delegate has; None where it is not told.
    """

    operators: tuple[OperatorReport, ...]
    whole_ms: float
    covered: float
    valid: bool
    overhead_ms: float
    call_ms: float
    macs: int
    macs_unknown: int
    moved_bytes: int
    moved_unknown: int
    outside_delegate: tuple[str, ...]
    inferences: int
    partitions: int | None = None


def profile_operators(
    artifact: Artifact,
    device: Device,
    settings: Settings,
    roofs: Roofs | None = None,
    budget_s: float = BUDGET_S,
    once: Once | None = None,
) -> OperatorsReport:
    """Profile a model's operators on a device within a budget.

    ``once`` is what is known of the model already. Roofs are measured unless they are given.

    Raises:
        ModelError: the runtime refuses the model or has no profiler of operators, or there is no time.
        DeviceError: the device was lost.
    """
    settings = replace(settings, runtime=device.runtime_for(artifact, settings))
    runs = run_profiles(artifact, device, settings, budget_s, once)
    works = works_of(artifact, runs.profiles[0])
    return _report(runs, works, runs.roofs(device, settings, works) if roofs is None else roofs)


def _report(runs: Runs, works: Sequence[OperatorWork], roofs: Roofs) -> OperatorsReport:
    profiles, operators = runs.profiles, runs.profiles[0].operators
    whole_ms = float(np.mean([_whole_ms(profile, runs) for profile in profiles]))
    times = _across_starts(profiles, runs)
    total = sum(own.mean_ms for own in times)
    reports = []
    for i, (own, time, work) in enumerate(zip(operators, times, works, strict=True)):
        resolved = time.mean_ms >= RESOLUTION_MS * own.calls
        told = (work.executed_macs, work.moved_bytes, work.precision)
        roof, of_roof = roofs.under(time.mean_ms, *told, own.calls) if resolved else ("", None)
        report = OperatorReport(
            position=i,
            type=own.type,
            name=own.name,
            provider=own.provider,
            latency_ms=time.mean_ms,
            latency_ms_low=time.low_ms,
            latency_ms_high=time.high_ms,
            samples=time.samples,
            starts_ms=time.starts_ms,
            share=time.mean_ms / (total or math.inf),
            calls=own.calls,
            macs=work.macs,
            executed_macs=work.executed_macs,
            moved_bytes=work.moved_bytes,
            roof=roof,
            of_roof=of_roof,
        )
        reports.append(report)
    # Profilers cut fractions of what they count in off, and a call takes time beside its operators.
    unseen_ms = runs.overhead.call_ms + RESOLUTION_MS * sum(own.calls for own in operators)
    outside = Counter(own.type for own in reports if own.provider and own.provider not in DELEGATES)
    return OperatorsReport(
        operators=tuple(reports),
        whole_ms=whole_ms,
        covered=total / whole_ms,
        valid=(total + unseen_ms) / whole_ms >= LEAST_COVERED and total / whole_ms <= MOST_COVERED,
        overhead_ms=_within_ms(profiles[0], runs),
        call_ms=runs.overhead.call_ms,
        macs=sum(own.macs or 0 for own in works),
        macs_unknown=sum(own.macs is None for own in works),
        moved_bytes=sum(own.moved_bytes or 0 for own in works),
        moved_unknown=sum(own.moved_bytes is None for own in works),
        outside_delegate=tuple(f"{count} × {kind}" for kind, count in outside.most_common()),
        inferences=runs.inferences,
        partitions=profiles[0].partitions,
    )


@dataclass(frozen=True)
class _Latency:
    """Mean over process starts with its interval, readings, and the starts' own means."""

    mean_ms: float
    low_ms: float | None
    high_ms: float | None
    samples: int
    starts_ms: tuple[float, ...]


def _means_ms(profile: OperatorProfile, runs: Runs) -> list[float]:
    """Each operator's mean of one start, less what the profiler adds to its executions.

    What runs others has what they leave of the whole, at most its own time: the profiler's own work on its body is in
    that as well, and may be many times as long.
    """
    within_ms = _within_ms(profile, runs)
    each_ms = zip(profile.operators, _typical_ms(profile), strict=True)
    raw = [max(time - own.calls * within_ms, 0.0) for own, time in each_ms]
    outer = sum(time for own, time in zip(profile.operators, raw, strict=True) if own.inside)
    left = _whole_ms(profile, runs) - runs.overhead.call_ms - (sum(raw) - outer)
    share = min(max(left / outer, 0.0), 1.0) if outer else 0.0
    return [time * share if own.inside else time for own, time in zip(profile.operators, raw, strict=True)]


def _typical_ms(profile: OperatorProfile) -> list[float]:
    """Each operator's mean, without the inferences that took least and most, so that means add up to one of them."""
    times_us = np.array([own.latency_us for own in profile.operators])
    order = np.argsort(times_us.sum(0), kind="stable")
    cut = int(TRIMMED * len(order))
    return [float(mean) for mean in times_us[:, order[cut : len(order) - cut]].mean(1) / 1e3]


def _within_ms(profile: OperatorProfile, runs: Runs) -> float:
    """Time that the profiler adds to an execution: as measured, or what operators take beyond the whole, evenly."""
    if runs.overhead.operator_ms is not None:
        return runs.overhead.operator_ms
    beyond_ms = sum(_typical_ms(profile)) - _whole_ms(profile, runs)
    return max(beyond_ms / sum(own.calls for own in profile.operators), 0.0)


def _whole_ms(profile: OperatorProfile, runs: Runs) -> float:
    return trimmed_mean(profile.whole_us) / 1e3 if profile.whole_us else runs.once.latency_ms


def _across_starts(profiles: Sequence[OperatorProfile], runs: Runs) -> list[_Latency]:
    """Latency of each operator of the first profile from every start that tells of it."""
    by_key: dict[str, list[tuple[float, int]]] = {}
    for profile in profiles:
        named = count_operators((own.type, own.name) for own in profile.operators)
        for operator, own, mean_ms in zip(named, profile.operators, _means_ms(profile, runs), strict=True):
            by_key.setdefault(operator.key, []).append((mean_ms, len(own.latency_us)))
    first = count_operators((own.type, own.name) for own in profiles[0].operators)
    return [_latency(by_key[operator.key]) for operator in first]


def _latency(starts: Sequence[tuple[float, int]]) -> _Latency:
    """The mean of starts' means, and how far it is known from how they scatter."""
    means = tuple(mean_ms for mean_ms, _ in starts)
    mean, samples = float(np.mean(means)), sum(count for _, count in starts)
    if len(means) == 1:
        return _Latency(mean, None, None, samples, means)
    half = NORMAL_95 * float(np.std(means, ddof=1)) / math.sqrt(len(means))
    return _Latency(mean, max(mean - half, 0.0), mean + half, samples, means)
