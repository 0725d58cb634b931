"""Logs, CSV files and protobuf messages of ``benchmark_model``; see :mod:`netdyno.devices.android.benchmark_log`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from netdyno.base.errors import InputError
from netdyno.devices.android.benchmark_log import Log, Row, Summary, count_runs, parse_log, parse_operators
from netdyno.devices.android.benchmark_proto import parse_profile, unread
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import decode, read_content
from netdyno.profiler.formats.rows import OperatorReading, latency_row, left_out, operator_rows
from netdyno.profiler.statistics import NORMAL_95
from netdyno.profiler.table import LookupTable, make_rows


def read_benchmark_model(path: Path, choice: Choice) -> LookupTable:
    """The operators in execution order as layers, and the whole model as a network, as far as the file tells of them.

    What is inside of a delegate's row is not counted beside it.

    Raises:
        InputError: none of the three, or nothing in it.
    """
    choice.forbid(path)
    content = read_content(path)
    try:
        text = decode(content)
    except UnicodeDecodeError:
        text = ""
    try:
        if "node type" not in text and "Inference" not in text:
            operators, log, others = parse_profile(content), None, list(unread(content))
            rows = operators.main or operators.internal
        else:
            operators, log, others = parse_operators(text), parse_log(text), list(_unread(text))
            rows = operators.main
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    networks = dict(_network(path, log)) if log else {}
    if not rows and not networks:
        raise InputError(f"{path}: no figures of benchmark_model")
    if operators.internal and rows is not operators.internal:
        others.append(f"{len(operators.internal)} operators inside of delegates' rows")
    layers = operator_rows(path, _readings(rows)) if rows else {}
    conditions = {"format": "benchmark-model", "runtime": "litert", **left_out(others)}
    return LookupTable(path.stem, conditions, make_rows("layer", layers), make_rows("genes", networks))


def _unread(text: str) -> Iterator[str]:
    """Contents of a log beside its operators in run order and how long an inference takes.

    Raises:
        ValueError: it is of several runs, whose figures would be mixed.
    """
    runs = count_runs(text)
    if runs > 1:
        raise ValueError(f"holds {runs} runs of benchmark_model; import them one by one")
    parts = {
        "Benchmark Initialization": "the operators of the initialisation",
        "Init:": "the time to load and the first inference's",
        "emory footprint": "the memory footprint",
        " min=": "the shortest and the longest inference, and others' spread",
        "mem KB": "memory of each operator",
    }
    yield from (what for sign, what in parts.items() if sign in text)
    if "Subgraph" in text:
        yield "the operators of other subgraphs"


def _readings(rows: Iterable[Row]) -> Iterable[OperatorReading]:
    return [OperatorReading(row.type, row.name, row.latency_ms, row.samples) for row in rows]


def _network(path: Path, log: Log) -> Iterable[tuple[str, dict[str, Any]]]:
    """The whole model: the median where the version says it, else the mean with its interval."""
    if log.summary is not None:
        yield log.graph.rpartition("/")[2] or path.stem, _summary(log.summary)


def _summary(summary: Summary) -> dict[str, Any]:
    if summary.count is None:
        return latency_row(summary.average_us / 1e3)
    if summary.median_us is not None:
        return latency_row(summary.median_us / 1e3, samples=summary.count)
    average_us = summary.average_us
    half_us = NORMAL_95 * (summary.std_us or 0.0) / math.sqrt(max(summary.count, 1))
    low, high = max(average_us - half_us, 0.0) / 1e3, (average_us + half_us) / 1e3
    return latency_row(average_us / 1e3, latency_ms_low=low, latency_ms_high=high, samples=summary.count)
