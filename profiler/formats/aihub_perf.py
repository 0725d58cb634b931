"""Qualcomm AI Hub's ``perf.yaml``: whole models on real phones, by precision, device and runtime.

``precisions: {float: {components: {NAME: {performance_metrics: {DEVICE: {RUNTIME: {inference_time_milliseconds,
estimated_peak_memory_range_mb: {min, max}, …}}}}}}}``. Source: github.com/quic/ai-hub-models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from netdyno.base.errors import InputError
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.rows import decode, latency_row, read_limited
from netdyno.profiler.table import LookupTable, empty_rows, make_rows

BYTES_PER_MB = 1_000_000
DEEPEST = 16
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_aihub_perf(path: Path, choice: Choice) -> LookupTable:
    """The models of one precision, device and runtime as network rows; memory is the upper end of its range.

    Raises:
        InputError: not such a file, or of several of which none was chosen.
    """
    precisions = _mapping(path, _load(path).get("precisions"), "precisions")
    precision = choice.pick(path, "precision", precisions)
    components = _mapping(path, _mapping(path, precisions[precision], precision).get("components"), "components")
    measured = {name: _metrics(path, component) for name, component in components.items()}
    device = choice.pick(path, "device", {device for devices in measured.values() for device in devices})
    there = {name: devices[device] for name, devices in measured.items() if device in devices}
    on_device = {name: _mapping(path, runtimes, device) for name, runtimes in there.items()}
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
    return _mapping(path, _mapping(path, component, "a component").get("performance_metrics"), "performance_metrics")


def _row(path: Path, entry: Any) -> dict[str, Any]:
    found = _mapping(path, entry, "a measurement")
    if "inference_time_milliseconds" not in found:
        return {"method": f"failed: {found.get('job_status', 'no time')}", "valid": 0}
    memory = _mapping(path, found.get("estimated_peak_memory_range_mb", {}), "a memory range").get("max")
    memory_bytes = None if memory in (None, "") else round(_number(path, memory) * BYTES_PER_MB) or None
    return latency_row(_number(path, found["inference_time_milliseconds"]), memory_bytes=memory_bytes)


def _load(path: Path) -> Mapping[str, Any]:
    text = decode(path, read_limited(path))
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):  # the library's loader crashes on very deep files
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
                raise InputError(f"{path}: nested too deeply, or aliased, for a perf.yaml")
        content = yaml.load(text, Loader=_LOADER)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    return _mapping(path, content, "the file")


def _mapping(path: Path, value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{path}: not a perf.yaml: {what} is no mapping of names")
    return value


def _number(path: Path, text: Any) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        raise InputError(f"{path}: not a number: {text!r:.80}") from None
    if not abs(number) < 1e9:
        raise InputError(f"{path}: no such number: {text!r:.80}")
    return number
