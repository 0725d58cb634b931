"""Qualcomm AI Hub's ``perf.yaml``: whole models on real phones, by precision, device and runtime.

``precisions: {float: {components: {NAME: {performance_metrics: {DEVICE: {RUNTIME: {inference_time_milliseconds,
estimated_peak_memory_range_mb: {min, max}, …}}}}}}}``. Source: github.com/quic/ai-hub-models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import as_mapping, as_number, read_yaml
from netdyno.profiler.formats.rows import latency_row
from netdyno.profiler.table import LookupTable, empty_rows, make_rows

BYTES_PER_MB = 1_000_000
DEEPEST = 16


def read_aihub_perf(path: Path, choice: Choice) -> LookupTable:
    """The models of one precision, device and runtime as network rows; memory is the upper end of its range.

    Raises:
        InputError: not such a file, or of several of which none was chosen.
    """
    precisions = as_mapping(path, read_yaml(path, DEEPEST).get("precisions"), "precisions")
    precision = choice.pick(path, "precision", precisions)
    components = as_mapping(path, as_mapping(path, precisions[precision], precision).get("components"), "components")
    measured = {name: _metrics(path, component) for name, component in components.items()}
    device = choice.pick(path, "device", {device for devices in measured.values() for device in devices})
    there = {name: devices[device] for name, devices in measured.items() if device in devices}
    on_device = {name: as_mapping(path, runtimes, device) for name, runtimes in there.items()}
    runtime = choice.pick(path, "runtime", {runtime for runtimes in on_device.values() for runtime in runtimes})
    rows = {name: _row(path, runtimes[runtime]) for name, runtimes in on_device.items() if runtime in runtimes}
    conditions = {
        "source": "quic/ai-hub-models",
        "format": "aihub-perf",
        "device": {"name": device},
        "runtime": runtime,
        "precision": precision,
        "batch": 1,
    }
    return LookupTable(path.name.removesuffix(".yaml"), conditions, empty_rows("layer"), make_rows("genes", rows))


def _metrics(path: Path, component: Any) -> Mapping[str, Any]:
    return as_mapping(
        path, as_mapping(path, component, "a component").get("performance_metrics"), "performance_metrics"
    )


def _row(path: Path, entry: Any) -> dict[str, Any]:
    found = as_mapping(path, entry, "a measurement")
    if "inference_time_milliseconds" not in found:
        return {"method": f"failed: {found.get('job_status', 'no time')}", "valid": 0}
    memory = as_mapping(path, found.get("estimated_peak_memory_range_mb", {}), "a memory range").get("max")
    memory_bytes = None if memory in (None, "") else round(as_number(path, memory) * BYTES_PER_MB) or None
    return latency_row(as_number(path, found["inference_time_milliseconds"]), memory_bytes=memory_bytes)
