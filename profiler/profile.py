"""Profile layers, and whole networks, into lookup tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
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
from netdyno.profiler.calibrate import calibrate_table
from netdyno.profiler.energy import energy_columns, require_meter
from netdyno.profiler.journal import Journal, Visit
from netdyno.profiler.layers import Layer, Overhead
from netdyno.profiler.lower import lower
from netdyno.profiler.measure import Bench, Method
from netdyno.profiler.plan import BETWEEN, CALIBRATION, VALIDATION, Networks, NetworkSpace, make_plan
from netdyno.profiler.samples import make_samples
from netdyno.profiler.statistics import estimate
from netdyno.profiler.table import LookupTable, empty_rows, make_rows

JOURNAL = "journal.sqlite"
DEFAULT_METHOD = Method()
DEFAULT_NETWORKS = Networks()
RANKS = ("", CALIBRATION, VALIDATION, BETWEEN)
"""What is measured first where the budget is small: layers, then networks by their role."""

Candidates = Mapping[str, Callable[[], Artifact]]


def profile_space(
    space: NetworkSpace,
    device: Device,
    settings: Settings,
    *,
    subject: str,
    networks: Networks = DEFAULT_NETWORKS,
    method: Method = DEFAULT_METHOD,
    out: Path | None = None,
    fresh: bool = False,
    progress: Progress = silent,
) -> LookupTable:
    """Measure a space's layers, the empty graph and some whole networks into a table that states its own error.

    ``subject`` is the space as text. With ``out`` the journal is kept there, the same call goes on from it, and the
    table is written there too.

    Raises:
        InputError: ``out`` holds another run's journal or somebody's other files, or cannot be written.
        DeviceError: the device was lost.
    """
    plan = make_plan(space, networks)
    graphs = {group.role: dict(zip(group.names(), group.graphs(), strict=True)) for group in plan}
    table = _profile(space.vocabulary(), graphs, device, settings, subject, method, out, progress, fresh=fresh)
    table = calibrate_table(table, plan)
    if out is not None:
        table.save(out)
    return table


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
    """Measure layers, and the empty graph beside them, into a table; see :func:`profile_space`.

    Raises:
        InputError: ``out`` holds another run's journal or somebody's other files, or cannot be written.
        DeviceError: the device was lost.
    """
    table = _profile(layers, {}, device, settings, subject, method, out, progress, fresh=fresh)
    if out is not None:
        table.save(out)
    return table


def _profile(
    layers: Iterable[Layer],
    networks: Mapping[str, Mapping[str, Callable[[], Graph]]],
    device: Device,
    settings: Settings,
    subject: str,
    method: Method,
    out: Path | None,
    progress: Progress,
    *,
    fresh: bool,
) -> LookupTable:
    """Layers, and whole networks by role and name, measured in the same rounds."""
    runtime, file_format = choose_runtime(device, settings)
    settings = replace(settings, runtime=runtime)
    by_key = {layer.key: layer for layer in (Overhead(), *layers)}
    roles = {name: role for role, graphs in networks.items() for name in graphs}
    candidates: dict[str, Callable[[], Artifact]] = {
        key: partial(_lowered, layer, file_format) for key, layer in by_key.items()
    }
    for graphs in networks.values():
        candidates |= {name: partial(_written, graph, file_format) for name, graph in graphs.items()}
    conditions = describe(device, settings, subject)
    with TemporaryDirectory() as scratch:
        path = (out or Path(scratch)) / JOURNAL
        ranks = {name: RANKS.index(role) for name, role in roles.items()}
        readings = _measure(candidates, device, settings, conditions, method, path, progress, ranks, fresh=fresh)
    for name, role in roles.items():
        if readings.rows[name].get("valid", 1):
            readings.rows[name]["method"] = f"measured: {role}"
    return LookupTable(
        f"{subject.partition(':')[0]}-{device.id}-{runtime}".replace(":", "-"),
        conditions | {"method": asdict(method)} | readings.states,
        make_rows("layer", {key: readings.rows[key] for key in by_key}),
        make_rows("genes", {name: readings.rows[name] for name in roles}),
        make_samples(readings.visits),
    )


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
        readings = _measure(candidates, device, settings, conditions, method, path, progress)
    return make_rows("genes", readings.rows)


def profile_artifacts(
    artifacts: Mapping[str, Artifact],
    device: Device,
    settings: Settings,
    method: Method = DEFAULT_METHOD,
    progress: Progress = silent,
) -> LookupTable:
    """Measure model files in the same shuffled rounds; a table whose networks have the names given.

    Raises:
        DeviceError: the device was lost.
    """
    candidates = {name: partial(_self, artifact) for name, artifact in artifacts.items()}
    conditions = describe(device, settings, "models")
    with TemporaryDirectory() as scratch:
        readings = _measure(candidates, device, settings, conditions, method, Path(scratch) / JOURNAL, progress)
    networks, samples = make_rows("genes", readings.rows), make_samples(readings.visits)
    conditions = conditions | {"method": asdict(method)} | readings.states
    return LookupTable("models", conditions, empty_rows("layer"), networks, samples)


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


@dataclass(frozen=True)
class _Readings:
    """Columns of a table's rows by candidate, the visits behind them, and what the device's states were."""

    rows: dict[str, dict[str, Any]]
    visits: dict[str, list[Visit]]
    states: dict[str, Any]


def _measure(
    candidates: Candidates,
    device: Device,
    settings: Settings,
    conditions: Mapping[str, Any],
    method: Method,
    journal_path: Path,
    progress: Progress,
    ranks: Mapping[str, int] | None = None,
    *,
    fresh: bool = False,
) -> _Readings:
    if method.energy_windows:
        require_meter(device)  # before minutes of other readings
    device.hold()  # nobody else may write the journal, or load the device, from here on
    before = dict(device.state())
    with Journal(journal_path, conditions, fresh=fresh) as journal:
        Bench(device, settings, candidates, journal, method, progress, ranks).run()
        recorded, memories, failures = journal.visits(), journal.memories(), journal.failures()
        flags, energies = Counter(journal.flags().values()), journal.energies()
    visits = {name: recorded[name] for name in candidates if name in recorded}
    rows = {
        name: _row(visits.get(name, []), memories.get(name), failures.get(name, []))
        | energy_columns(energies.get(name, []))
        for name in candidates
    }
    states = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "state_before": before,
        "state_after": dict(device.state()),
        "flagged_rounds": dict(sorted(flags.items())),
    }
    return _Readings(rows, visits, states)


def _row(visits: list[Visit], memory_bytes: int | None, failures: list[str]) -> dict[str, Any]:
    """What the journal says of one candidate, as columns of a table.

    Flagged visits are left out; where they are the most, all count and the row is not valid.
    """
    if not visits:
        reason = failures[-1] if failures else "not measured within the budget"
        return {"method": f"failed: {reason}", "valid": 0}
    trusted = [visit for visit in visits if not visit.flag]
    valid = 2 * len(trusted) >= len(visits)
    used = trusted if valid else visits
    figure = estimate([visit.latency_ms for visit in used], [visit.start for visit in used])
    method = "measured" if valid else f"flagged: {Counter(visit.flag for visit in visits).most_common(1)[0][0]}"
    return {
        "latency_ms": figure.median,
        "latency_ms_low": figure.low,
        "latency_ms_high": figure.high,
        "memory_bytes": memory_bytes,
        "samples": figure.samples,
        "starts": len({visit.start for visit in used}),
        "method": method,
        "valid": int(valid),
    }


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


def _self(artifact: Artifact) -> Artifact:
    return artifact


def _written(graph: Callable[[], Graph], format: str) -> Artifact:
    return write(graph(), format)
