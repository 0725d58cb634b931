"""Profile layers, whole networks and model files into lookup tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import pandas as pd

from netdyno.base.artifact import Artifact
from netdyno.exporters.graph import Graph
from netdyno.exporters.writers import write
from netdyno.profiler.calibrate import calibrate_table
from netdyno.profiler.layers import Layer, Overhead
from netdyno.profiler.lower import lower
from netdyno.profiler.plan import BETWEEN, CALIBRATION, VALIDATION, Networks, NetworkSpace, make_plan
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.samples import make_samples
from netdyno.profiler.table import LookupTable, empty_rows, make_rows
from netdyno.profiler.windows import make_windows

DEFAULT_NETWORKS = Networks()
RANKS = {CALIBRATION: 1, VALIDATION: 2, BETWEEN: 3}
"""What is measured first where the budget is small: layers (0), then networks by their role."""

Graphs = Mapping[str, Callable[[], Graph]]


def profile_space(
    space: NetworkSpace, run: Profiling, *, subject: str, networks: Networks = DEFAULT_NETWORKS
) -> LookupTable:
    """Measure a space's layers, the empty graph and some whole networks into a table that states its own error.

    ``subject`` is the space as text. Where the run has a folder, the table is written there too.

    Raises:
        InputError: the folder holds another run's journal or somebody's other files, or cannot be written.
        DeviceError: the device was lost.
    """
    plan = make_plan(space, networks)
    graphs = {group.role: dict(zip(group.names(), group.graphs(), strict=True)) for group in plan}
    table = calibrate_table(_profile(space.vocabulary(), graphs, run, subject), plan)
    if run.out is not None:
        table.save(run.out)
    return table


def profile_layers(layers: Iterable[Layer], run: Profiling, *, subject: str) -> LookupTable:
    """Measure layers, and the empty graph beside them, into a table; see :func:`profile_space`.

    Raises:
        InputError: the folder holds another run's journal or somebody's other files, or cannot be written.
        DeviceError: the device was lost.
    """
    table = _profile(layers, {}, run, subject)
    if run.out is not None:
        table.save(run.out)
    return table


def _profile(layers: Iterable[Layer], networks: Mapping[str, Graphs], run: Profiling, subject: str) -> LookupTable:
    """Layers, and whole networks by role and name, measured in the same rounds."""
    run, file_format = run.on_runtime()
    by_key = {layer.key: layer for layer in (Overhead(), *layers)}
    roles = {name: role for role, graphs in networks.items() for name in graphs}
    candidates: dict[str, Callable[[], Artifact]] = {
        key: partial(_lowered, layer, file_format, run.batch) for key, layer in by_key.items()
    }
    for graphs in networks.values():
        candidates |= {name: partial(_written, graph, file_format, run.batch) for name, graph in graphs.items()}
    readings = run.measure(candidates, subject, {name: RANKS[role] for name, role in roles.items()})
    for name, role in roles.items():
        if readings.rows[name]["method"] == "measured":
            readings.rows[name]["method"] = f"measured: {role}"
    name = f"{subject.partition(':')[0]}-{run.device.id}-{run.settings.runtime}".replace(":", "-")
    return LookupTable(
        name,
        readings.conditions,
        make_rows("layer", {key: readings.rows[key] for key in by_key}),
        make_rows("genes", {name: readings.rows[name] for name in roles}),
        make_samples(readings.visits),
        make_windows(readings.windows),
    )


def profile_networks(graphs: Mapping[str, Graph], run: Profiling) -> pd.DataFrame:
    """Measure whole networks, interleaved; rows of a table's ``networks`` by the names given.

    Raises:
        DeviceError: the device was lost.
    """
    run, file_format = run.on_runtime()
    candidates = {name: partial(write, graph.batched(run.batch), file_format) for name, graph in graphs.items()}
    return make_rows("genes", run.measure(candidates, "networks").rows)


def profile_artifacts(artifacts: Mapping[str, Artifact], run: Profiling) -> LookupTable:
    """Measure model files in the same shuffled rounds; a table whose networks have the names given.

    Raises:
        InputError: the folder of the run holds readings of other models, or cannot be written.
        DeviceError: the device was lost.
    """
    subject = f"models {', '.join(f'{name} {_identity(artifact)}' for name, artifact in artifacts.items())}"
    readings = run.measure({name: partial(_self, artifact) for name, artifact in artifacts.items()}, subject)
    networks, samples = make_rows("genes", readings.rows), make_samples(readings.visits)
    return LookupTable("models", readings.conditions, empty_rows("layer"), networks, samples)


def _lowered(layer: Layer, format: str, batch: int) -> Artifact:
    return write(lower(layer).batched(batch), format)


def _written(graph: Callable[[], Graph], format: str, batch: int) -> Artifact:
    return write(graph().batched(batch), format)


def _identity(artifact: Artifact) -> str:
    """A digest of a model and of what was chosen for its inputs."""
    return hashlib.sha256(f"{artifact.sha256} {artifact.inputs} {artifact.feeding}".encode()).hexdigest()[:16]


def _self(artifact: Artifact) -> Artifact:
    return artifact
