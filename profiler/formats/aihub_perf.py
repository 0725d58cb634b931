"""Qualcomm AI Hub's ``perf.yaml``: whole models on real phones, by precision, device and runtime.

::

    since 2025  precisions: {float: {components: {NAME: {performance_metrics: {DEVICE: {RUNTIME: MEASUREMENT}}}}}}
    before      models: [{name: NAME, performance_metrics: [{reference_device_info: {name: DEVICE}, RUNTIME:
                MEASUREMENT}]}], or one such model, with the precision in each measurement

A measurement has ``inference_time_milliseconds`` and ``estimated_peak_memory_range_mb: {min, max}``, before 2025
``inference_time`` in µs and ``estimated_peak_memory_range`` in bytes. That of a language model has, directly or below
``llm_metrics``, once or for each length of the context, ``tokens_per_second`` and the time to the first token for the
shortest and the longest prompt. Source: github.com/quic/ai-hub-models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netdyno.base.errors import InputError
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import as_mapping, as_number, read_yaml
from netdyno.profiler.formats.rows import latency_row, left_out, other_fields
from netdyno.profiler.table import LookupTable, empty_rows, make_rows

BYTES_PER_MB = 1_000_000
DEEPEST = 16
UNTOLD = "unspecified"
"""Before 2025 language models had no precision."""
_TIME = {"inference_time_milliseconds": 1.0, "inference_time": 1e-3}
_MEMORY = {"estimated_peak_memory_range_mb": BYTES_PER_MB, "estimated_peak_memory_range": 1}
_FIRST_TOKEN = {"time_to_first_token_range_milliseconds": 1.0, "time_to_first_token_range": 1e-3}
_RATE = "tokens_per_second"
_LLM = "llm_metrics"
_READ = {*_TIME, *_MEMORY, *_FIRST_TOKEN, _RATE, _LLM, "job_status", "precision"}
_READ_OF_LLM = {*_FIRST_TOKEN, _RATE, "context_length", "desired_compute_unit"}
_NONE = (None, "", "null")


@dataclass(frozen=True)
class Measurement:
    """One entry of a file, and what it is of."""

    component: str
    precision: str
    device: str
    runtime: str
    entry: Mapping[str, Any]


def read_aihub_perf(path: Path, choice: Choice) -> LookupTable:
    """The models of one precision, device and runtime as network rows; memory is the upper end of its range.

    A language model has a row for the first token of the shortest and of the longest prompt, and one for each token
    after it.

    Raises:
        InputError: not such a file, or of several of which none was chosen.
    """
    content = read_yaml(path, DEEPEST)
    every = list(_of_models(path, content) if "models" in content else _of_precisions(path, content))
    found, picked = every, {}
    for what in ("precision", "device", "runtime"):
        picked[what] = choice.pick(path, what, {getattr(each, what) for each in found})
        found = [each for each in found if getattr(each, what) == picked[what]]
    rows: dict[str, dict[str, Any]] = {}
    for each in found:
        for name, row in _rows(path, each):
            rows[_unused(name, rows)] = row
    conditions = {
        "source": "quic/ai-hub-models",
        "format": "aihub-perf",
        "device": {"name": picked["device"]},
        "runtime": picked["runtime"],
        "precision": picked["precision"],
        "batch": 1,
        **left_out(_left_out(path, content, every, found)),
    }
    return LookupTable(path.name.removesuffix(".yaml"), conditions, empty_rows("layer"), make_rows("genes", rows))


def _of_precisions(path: Path, content: Mapping[str, Any]) -> Iterator[Measurement]:
    for precision, details in as_mapping(path, content.get("precisions"), "precisions").items():
        components = as_mapping(path, as_mapping(path, details, precision).get("components"), "components")
        for name, component in components.items():
            metrics = as_mapping(path, component, "a component").get("performance_metrics")
            for device, runtimes in as_mapping(path, metrics, "performance_metrics").items():
                for runtime, entry in as_mapping(path, runtimes, device).items():
                    yield Measurement(name, precision, device, runtime, as_mapping(path, entry, "a measurement"))


def _of_models(path: Path, content: Mapping[str, Any]) -> Iterator[Measurement]:
    models = content["models"] if isinstance(content["models"], list) else [content["models"]]
    for model in models:
        name, metrics = (as_mapping(path, model, "a model").get(key) for key in ("name", "performance_metrics"))
        if not isinstance(name, str) or not isinstance(metrics, list):
            raise InputError(f"{path}: a model without a name or performance_metrics")
        for each in metrics:
            runtimes = as_mapping(path, each, "performance_metrics")
            told = as_mapping(path, runtimes.get("reference_device_info"), "reference_device_info").get("name")
            for runtime, entry in runtimes.items():
                if runtime not in ("reference_device_info", "timestamp"):
                    measured = as_mapping(path, entry, "a measurement")
                    precision = measured.get("precision")
                    precision = UNTOLD if precision in _NONE else str(precision)
                    yield Measurement(name, precision, str(told), runtime, measured)


def _rows(path: Path, measured: Measurement) -> Iterator[tuple[str, dict[str, Any]]]:
    entry, name = measured.entry, measured.component
    of_llm = _llm_metrics(path, entry)
    for metrics in of_llm:
        yield from _llm_rows(path, name, metrics)
    time, scale = _one_of(entry, _TIME)
    if time in _NONE:
        if not of_llm:
            yield name, {"method": f"failed: {entry.get('job_status', 'no time')}", "valid": 0}
        return
    memory, unit = _one_of(entry, _MEMORY)
    most = None if memory in _NONE else as_mapping(path, memory, "a memory range").get("max")
    memory_bytes = None if most in _NONE else round(as_number(path, most) * unit) or None
    yield name, latency_row(as_number(path, time) * scale, memory_bytes=memory_bytes)


def _llm_metrics(path: Path, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Measurements of a language model, by length of the context; nothing of other models."""
    told = entry.get(_LLM)
    if told in _NONE:
        told = [dict(entry)] if _RATE in entry or _one_of(entry, _FIRST_TOKEN)[0] not in _NONE else []
    return [as_mapping(path, each, _LLM) for each in (told if isinstance(told, list) else [told])]


def _llm_rows(path: Path, name: str, metrics: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    context, unit = metrics.get("context_length"), metrics.get("desired_compute_unit")
    where = [*([f"context of {context}"] if context else []), *([str(unit)] if unit else [])]
    suffix = f" ({', '.join(where)})" if where else ""
    first, scale = _one_of(metrics, _FIRST_TOKEN)
    ends = {} if first in _NONE else as_mapping(path, first, "a time to the first token")
    for end, prompt in (("min", "shortest"), ("max", "longest")):
        if ends.get(end) not in _NONE:
            yield (
                f"{name}: first token of the {prompt} prompt{suffix}",
                latency_row(as_number(path, ends[end]) * scale),
            )
    if metrics.get(_RATE) not in _NONE:
        rate = as_number(path, metrics[_RATE])
        each = 1e3 / rate if rate > 0 else 0.0
        yield f"{name}: each token{suffix}", latency_row(each)


def _one_of(entry: Mapping[str, Any], scales: Mapping[str, float]) -> tuple[Any, float]:
    """The value of the first name that an entry has, and its unit in ms or bytes."""
    return next(((entry[name], scale) for name, scale in scales.items() if name in entry), (None, 1.0))


def _unused(name: str, rows: Mapping[str, Any]) -> str:
    """A name of its own: files hold several measurements of one model on one device."""
    number = 2
    unused = name
    while unused in rows:
        unused, number = f"{name} ({number})", number + 1
    return unused


def _left_out(
    path: Path, content: Mapping[str, Any], every: list[Measurement], found: list[Measurement]
) -> Iterator[str]:
    there = {each.component for each in found}
    for name in dict.fromkeys(each.component for each in every):
        if name not in there:
            yield f"{name}: not measured with this precision, device and runtime"
    if len(every) > len(found):
        yield f"{len(every) - len(found)} of {len(every)} measurements, with other precisions, devices or runtimes"
    yield from other_fields((each.entry for each in found), _READ | _READ_OF_LLM)
    of_llm = [metrics for each in found for metrics in _llm_metrics(path, each.entry) if metrics != each.entry]
    yield from other_fields(of_llm, _READ_OF_LLM)
    if any(_one_of(each.entry, _MEMORY)[0] not in _NONE for each in found):
        yield "the lower end of each range of memory"
    for what, parts, known in (
        ("the sections", [content], {"precisions", "models"}),
        ("of each component:", _components(content), {"performance_metrics", "name"}),
    ):
        yield from other_fields(parts, known, what)


def _components(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The models of a file that was read already."""
    if "models" in content:
        models = content["models"]
        return models if isinstance(models, list) else [models]
    return [component for each in content["precisions"].values() for component in each["components"].values()]
