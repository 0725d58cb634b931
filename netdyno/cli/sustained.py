"""``netdyno profile MODEL --sustained 10min``: latency while the device heats up."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdyno.cli.console import emit, print_table, progress, say
from netdyno.cli.feeding import print_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdyno.base.artifact import Artifact
    from netdyno.devices import Settings
    from netdyno.profiler.sustained import Point, Sustained

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60


def profile_sustained(
    artifact: Artifact, device: Any, settings: Settings, duration_s: float, out: Path | None, as_json: bool
) -> None:
    """Measure the curve, print what it comes to, and keep it as a CSV; one that is broken off is kept too."""
    from netdyno.profiler.sustained import summarize, sustain

    device.prepare()
    points: list[Point] = []
    try:
        with progress() as tell:
            points.extend(sustain(artifact, device, settings, duration_s, tell))
    finally:
        if points and out is not None:
            _save(points, out / f"{artifact.name}-sustained.csv")
    report = summarize(points)
    if as_json:
        about: dict[str, Any] = {"model": artifact.name, "sha256": artifact.sha256, "device": device.id}
        about["inputs"] = [asdict(own) for own in device.inputs_of(artifact)]
        emit({**about, **asdict(report), "points": [asdict(point) for point in points]})
        return
    _print(artifact, device, report, points)
    print_inputs({artifact.name: device.inputs_of(artifact)})


def _save(points: Sequence[Point], path: Path) -> None:
    from netdyno.base.files import write_atomic

    names = list(dict.fromkeys(name for point in points for name in point.state))
    lines = [",".join(["seconds", "latency_ms", "inferences", *names, "fault"])]
    for point in points:
        state = (f"{point.state[name]:g}" if name in point.state else "" for name in names)
        figures = (f"{point.seconds:.2f}", f"{point.latency_ms:.6g}", str(point.inferences))
        lines.append(",".join([*figures, *state, point.fault.replace(",", ";")]))
    write_atomic(path, "\n".join(lines) + "\n")
    say(f"{len(points)} points -> {path}")


def _print(artifact: Artifact, device: Any, report: Sustained, points: Sequence[Point]) -> None:
    from netdyno.base.units import format_ms

    since = "never" if report.slower_from_s is None else f"{report.slower_from_s:.0f} s"
    rows = [
        ("at first", format_ms(report.start_ms)),
        ("in the end", format_ms(report.end_ms)),
        ("slower by", f"{report.slowdown_pct:.1f} %"),
        ("slower by 5 % from", since),
    ]
    first, last = points[0].state, points[-1].state
    rows += [(name, f"{first[name]:g} -> {last[name]:g}") for name in first if name in last]
    print_table((artifact.name, f"{report.seconds:.0f} s on {device.id}"), rows)
    say(f"{_curve([point.latency_ms for point in points])}  latency, from {format_ms(_least(points))} up")
    for fault in report.faults:
        say(f"meanwhile: {fault}")


def _least(points: Sequence[Point]) -> float:
    return min(point.latency_ms for point in points)


def _curve(values: Sequence[float]) -> str:
    """The values as bars, means of neighbours where there are more than fit into a line."""
    width = min(WIDTH, len(values))
    bounds = [len(values) * i // width for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)
