"""``netdyno profile MODEL``: operator by operator; ``netdyno profile A B``: whether they differ."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from netdyno.cli.console import emit, print_table, progress, say
from netdyno.cli.feeding import Choices, choose, print_inputs
from netdyno.cli.resuming import resumable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netdyno.base.artifact import Artifact
    from netdyno.devices import Settings
    from netdyno.profiler.measure import Method
    from netdyno.profiler.model import ModelReport
    from netdyno.profiler.operators import OperatorsReport

SHOWN = 15


def read(paths: Sequence[Path], choices: Choices) -> list[Artifact]:
    """Model files with what the user says of their inputs."""
    from netdyno.exporters.read import read_model

    return choose([read_model(path) for path in paths], choices)


def profile_one(
    artifact: Artifact,
    device: Any,
    settings: Settings,
    method: Method,
    out: Path | None,
    operators: bool,
    as_json: bool,
) -> None:
    """Measure a model as a whole and, if asked for, its operators; print, and keep it as a table.

    Raises:
        MeasurementInvalid: the operators do not add up to the whole; with ``as_json`` only the exit code says so.
    """
    from netdyno.base.deadline import within
    from netdyno.base.errors import MeasurementInvalid
    from netdyno.profiler.model import DEFAULT_BUDGET_S, model_table, profile_model, profile_parts

    device.prepare()
    device.hold()  # waiting for another user is no part of the budget
    began, limit_s = time.monotonic(), method.budget_s
    budget_s = limit_s or DEFAULT_BUDGET_S
    if operators:  # half of the budget is for them, less what the whole takes beyond its own
        method = replace(method, budget_s=budget_s / 2)
    parts, why_not = None, ""
    with progress() as tell, within(limit_s):
        whole = profile_model(artifact, device, settings, method, tell)
        if operators:
            left_s = max(budget_s - (time.monotonic() - began), 0.1)
            method = replace(method, budget_s=min(left_s, budget_s / 2))
            parts, why_not = profile_parts(artifact, device, settings, method, tell, whole)
    fed = device.inputs_of(artifact)
    document = {
        "model": artifact.name,
        "sha256": artifact.sha256,
        "device": device.id,
        **asdict(whole),
        "valid": True,
    }
    document["inputs"] = [asdict(own) for own in fed]
    if parts is not None:
        document |= asdict(parts)
    if out is not None:
        report = {f"{artifact.name}.json": (json.dumps(document, indent=2) + "\n").encode()}
        model_table(artifact, device, settings, whole, parts).save(out, report)
        say(f"{artifact.name} -> {out}")
    if why_not:
        say(f"no operators: {why_not}")
    if as_json:
        emit(document)
    else:
        _print_whole(artifact, device, whole)
        print_inputs({artifact.name: fed})
        if parts is not None:
            _print_operators(parts)
    if parts is not None and not parts.valid:
        sums = f"its operators add up to {parts.covered:.0%} of an inference without the profiler"
        invalid = MeasurementInvalid(f"{artifact.name}: {sums}, so their times are not to be trusted")
        if not as_json:
            raise invalid
        say(f"netdyno: {invalid}")  # stdout has its one document, which says so too
        raise typer.Exit(invalid.exit_code)


def _print_whole(artifact: Artifact, device: Any, report: ModelReport) -> None:
    from netdyno.base.units import format_bytes, format_ms, format_ms_interval

    interval = format_ms_interval(report.latency_ms, report.latency_ms_low, report.latency_ms_high)
    rows = [
        ("load", format_ms(report.load_ms)),
        ("first inference", format_ms(report.first_ms)),
        ("median", f"{format_ms(report.latency_ms)} {interval}".rstrip()),
    ]
    singles = {"minimum": report.latency_ms_min, "p90": report.latency_ms_p90, "p99": report.latency_ms_p99}
    rows += [(name, format_ms(value)) for name, value in singles.items() if value is not None]
    rows.append(("samples", str(report.samples)))
    if report.memory_bytes is not None:
        rows.append(("peak memory", format_bytes(report.memory_bytes)))
    print_table((artifact.name, f"{device.id} {report.runtime}"), rows)


def _print_operators(report: OperatorsReport) -> None:
    from netdyno.base.units import format_ms

    cells = []
    for own in sorted(report.operators, key=lambda each: -each.latency_ms)[:SHOWN]:
        macs = "" if own.macs is None else f"{own.macs / 1e6:.2f}"
        moved = "" if own.moved_bytes is None else f"{own.moved_bytes / 1e6:.2f}"
        reached = "" if own.of_roof is None else f"{own.of_roof:.0%}"
        title = own.name if own.name.startswith(own.type) else f"{own.type} {own.name}"
        cells.append((title, format_ms(own.latency_ms), f"{own.share:.1%}", macs, moved, own.roof, reached))
    print_table(("operator", "time", "share", "M MACs", "MB moved", "roof", "of it"), cells)
    hidden = len(report.operators) - len(cells)
    more = f"; {hidden} smaller ones with --json" if hidden > 0 else ""
    count = len(report.operators)
    macs = _total(report.macs / 1e6, "M MACs", report.macs_unknown, count)
    say(f"{macs}, {_total(report.moved_bytes / 1e6, 'MB moved', report.moved_unknown, count)}")
    say(f"{count} operators add up to {report.covered:.0%} of an inference without the profiler{more}")
    if report.outside_delegate:
        parts = f" (it has {report.partitions} parts of the model)" if report.partitions else ""
        say(f"outside the delegate{parts}: {', '.join(report.outside_delegate)}")


def _total(value: float, unit: str, unknown: int, count: int) -> str:
    beside = f" without {unknown} of {count} operators, of which it is not known" if unknown else ""
    return f"{value:.2f} {unit}{beside}"


def compare(
    artifacts: list[Artifact],
    device: Any,
    settings: Settings,
    method: Method,
    out: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Measure models in the same shuffled rounds, and say which really differ from the first.

    With ``out`` the readings are kept there as they are made, and the same command goes on from them.
    """
    from netdyno.base.errors import InputError, MeasurementInvalid, WorkerLost
    from netdyno.base.units import format_ms, format_ms_interval
    from netdyno.profiler.compare import compare_rows
    from netdyno.profiler.profile import profile_artifacts
    from netdyno.profiler.profiling import Profiling

    names = [artifact.name for artifact in artifacts]
    if len(set(names)) < len(names):
        names = [f"{artifact.name}.{artifact.format}" for artifact in artifacts]
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, start=1)]
    with nullcontext() if out is None else resumable(fresh=fresh), progress() as tell:
        table = profile_artifacts(
            dict(zip(names, artifacts, strict=True)),
            Profiling(device, settings, method, out, fresh, progress=tell),
        )
    if out is not None:
        table.save(out)
        say(f"{len(names)} models -> {out}")
    for name, row in table.networks[table.networks["valid"] == 0].iterrows():
        kind = {"flagged": MeasurementInvalid, "lost": WorkerLost}.get(
            str(row["method"]).partition(":")[0], InputError
        )
        raise kind(f"{name}: {row['method']}", artifact=str(name))
    changes = [compare_rows(table, names[0], name) for name in names[1:]]
    if as_json:
        rows = table.networks.rename_axis("model").reset_index().to_dict("records")
        verdicts = [asdict(c) | {"change": c.fraction, "real": c.significant} for c in changes]
        for told, artifact in zip(rows, artifacts, strict=True):
            told["inputs"] = [asdict(own) for own in device.inputs_of(artifact)]
        emit({"models": rows, "changes": verdicts})
        return
    cells = []
    for name, row in table.networks.iterrows():
        middle, low, high = (float(row[f"latency_ms{end}"]) for end in ("", "_low", "_high"))
        cells.append((str(name), format_ms(middle), format_ms_interval(middle, low, high), str(row["samples"])))
    print_table(("model", "median", "95 % interval", "samples"), cells)
    print_inputs({name: device.inputs_of(artifact) for name, artifact in zip(names, artifacts, strict=True)})
    for change in changes:
        verdict = f"{change.fraction:+.1%}" if change.significant else "no difference beyond chance"
        say(f"{change.layer} against {names[0]}: {verdict} (p = {change.p:.2g})")
