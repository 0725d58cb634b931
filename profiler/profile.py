"""Profile layers, and whole networks, into lookup tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from netdyno.base.artifact import Artifact
from netdyno.base.errors import UnknownName
from netdyno.base.progress import Progress, silent
from netdyno.devices.device import Device, Settings
from netdyno.exporters.graph import Graph
from netdyno.exporters.writers import write
from netdyno.profiler.journal import Journal
from netdyno.profiler.layer import Layer, Overhead
from netdyno.profiler.lower import lower
from netdyno.profiler.measure import Bench, Method
from netdyno.profiler.statistics import estimate
from netdyno.profiler.table import LookupTable, make_rows

JOURNAL = "journal.sqlite"
DEFAULT_METHOD = Method()

Candidates = Mapping[str, Callable[[], Artifact]]


def profile_layers(
    layers: Iterable[Layer],
    device: Device,
    settings: Settings,
    *,
    subject: str,
    method: Method = DEFAULT_METHOD,
    out: Path | None = None,
    fresh: bool = False,
    progress: Progress = silent,
) -> LookupTable:
    """Measure layers, and the empty graph beside them, into a table.

    ``subject`` says what the layers are of. With ``out`` the journal is kept there, the same call goes on from it,
    and the table is written there too.

    Raises:
        InputError: ``out`` holds another run's journal or somebody's other files, or cannot be written.
        DeviceError: the device was lost.
    """
    runtime, file_format = choose_runtime(device, settings)
    settings = replace(settings, runtime=runtime)
    chosen = dict.fromkeys([Overhead(), *layers])
    candidates = {layer.key: partial(_lowered, layer, file_format) for layer in chosen}
    conditions = describe(device, settings, subject)
    with TemporaryDirectory() as scratch:
        path = (out or Path(scratch)) / JOURNAL
        rows, states = _measure(candidates, device, settings, conditions, method, path, progress, fresh=fresh)
    name = f"{subject.partition(':')[0]}-{device.id}-{runtime}".replace(":", "-")
    table = LookupTable(name, conditions | {"method": asdict(method)} | states, make_rows("layer", rows))
    if out is not None:
        table.save(out)
    return table


def profile_networks(
    graphs: Mapping[str, Graph],
    device: Device,
    settings: Settings,
    *,
    method: Method = DEFAULT_METHOD,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Measure whole networks, interleaved; rows of a table's ``networks`` by the names given.

    Raises:
        DeviceError: the device was lost.
    """
    runtime, file_format = choose_runtime(device, settings)
    settings = replace(settings, runtime=runtime)
    candidates = {name: partial(write, graph, file_format) for name, graph in graphs.items()}
    conditions = describe(device, settings, "networks")
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / JOURNAL
        rows, _ = _measure(candidates, device, settings, conditions, method, path, progress)
    return make_rows("genes", rows)


def describe(device: Device, settings: Settings, subject: str) -> dict[str, Any]:
    """The conditions that make readings comparable: device, runtime, versions, threads, batch, precision."""
    info = device.info()
    return {
        "subject": subject,
        "device": {"id": info.id, "kind": info.kind, "name": info.name, **info.facts},
        "runtime": settings.runtime,
        "threads": settings.threads,
        "batch": 1,
        "precision": "fp32",
        "versions": {**info.versions, "netdyno": version("netdyno")},
    }


def _measure(
    candidates: Candidates,
    device: Device,
    settings: Settings,
    conditions: Mapping[str, Any],
    method: Method,
    journal_path: Path,
    progress: Progress,
    *,
    fresh: bool = False,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Rows by candidate, and the device's state before and after."""
    device.hold()  # nobody else may write the journal, or load the device, from here on
    before = dict(device.state())
    with Journal(journal_path, conditions, fresh=fresh) as journal:
        Bench(device, settings, candidates, journal, method, progress).run()
        rows = _rows(journal, candidates)
    states = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "state_before": before,
        "state_after": dict(device.state()),
    }
    return rows, states


def _rows(journal: Journal, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the journal says of each candidate, as columns of a table."""
    visits, starts, memories, failures = journal.visits(), journal.starts(), journal.memories(), journal.failures()
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        if name not in visits:
            reason = failures.get(name, ["not measured within the budget"])[-1]
            rows[name] = {"method": f"failed: {reason}", "valid": 0}
            continue
        figure = estimate(visits[name])
        rows[name] = {
            "latency_ms": figure.median,
            "latency_ms_low": figure.low,
            "latency_ms_high": figure.high,
            "memory_bytes": memories.get(name),
            "samples": figure.samples,
            "starts": starts[name],
            "method": "measured",
        }
    return rows


def choose_runtime(device: Device, settings: Settings) -> tuple[str, str]:
    """The runtime to use and the format that it runs: what was asked for, else the device's first.

    Raises:
        UnknownName: the device has no such runtime.
    """
    runtime = settings.runtime or next(iter(device.formats))
    if runtime not in device.formats:
        raise UnknownName("runtime", runtime, device.formats)
    return runtime, device.formats[runtime]


def _lowered(layer: Layer, format: str) -> Artifact:
    return write(lower(layer), format)
