"""What TFLite's (LiteRT's) ``benchmark_model`` prints and writes: logs, its CSV, and its protobuf.

Traps: XNNPACK's node types contain commas, so a CSV row is split from the right; the average is of one call, to be
multiplied by how often an operator is called in an inference; columns differ by version and are found by the header;
a log with op profiling has a section on initialisation first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from netdyno.base.errors import InputError
from netdyno.profiler.formats.benchmark_proto import parse_profile
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import as_number, read_content
from netdyno.profiler.formats.rows import OperatorReading, latency_row, operator_rows
from netdyno.profiler.statistics import NORMAL_95
from netdyno.profiler.table import LookupTable, make_rows

RUN_ORDER = "Run Order"
REGULAR = "Regular Benchmark Runs"
_PREFIX = re.compile(r"^(?:INFO|WARNING|ERROR): ?")
_TITLE = re.compile(r"=+ (.+?) =+")
_GRAPH = re.compile(r"Graph: \[(.+?)\]")
_STATISTICS = re.compile(r"\bcount=(\d{1,12})\b(.*)")
_FIELD = re.compile(r"\b(avg|std|median)=([-+0-9.e]+)")
_AVERAGE = re.compile(r"Inference(?: \(avg\))?: ([-+0-9.e]+)")


def read_benchmark_model(path: Path, choice: Choice) -> LookupTable:
    """The operators in execution order as layers, and the whole model as a network, as far as the file tells of them.

    Raises:
        InputError: none of the three, or nothing in it.
    """
    choice.forbid(path)
    content = read_content(path)
    conditions = {"format": "benchmark-model", "runtime": "litert"}
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    if "node type" not in text and "Inference" not in text:
        operators = operator_rows(path, parse_profile(content, str(path)))
        return LookupTable(path.stem, conditions, make_rows("layer", operators))
    lines = [_PREFIX.sub("", line) for line in text.splitlines()]
    readings, networks = list(_operators(path, lines)), dict(_network(path, lines))
    if not readings and not networks:
        raise InputError(f"{path}: no figures of benchmark_model")
    layers = operator_rows(path, readings) if readings else {}
    return LookupTable(path.stem, conditions, make_rows("layer", layers), make_rows("genes", networks))


def _operators(path: Path, lines: Sequence[str]) -> Iterator[OperatorReading]:
    """Rows in run order of the inferences' first section: others are of initialisation, or inside of a delegate."""
    begin = next((i for i, line in enumerate(lines) if REGULAR in line), 0)
    titles = (i for i in range(begin, len(lines)) if (title := _TITLE.search(lines[i])) and title[1] == RUN_ORDER)
    first = next(titles, None)
    if first is None:
        return
    header, *rows = [line for line in lines[first + 1 :] if line.strip()] or [""]
    tabbed = "\t" in header
    columns = [column.strip(" []").lower().replace("_", " ") for column in header.split("\t" if tabbed else ",")]
    columns = [column for column in columns if column]
    if not {"node type", "avg ms", "name"} <= set(columns) or columns[0] != "node type" or columns[-1] != "name":
        raise InputError(f"{path}: no columns of benchmark_model: {header.strip()[:80]!r}")
    for row in rows:
        if row.startswith("=") or row.startswith("Number of nodes"):
            return
        yield _operator(path, columns, _cells(path, row, len(columns), tabbed=tabbed))


def _cells(path: Path, row: str, count: int, *, tabbed: bool) -> list[str]:
    cells = [cell.strip() for cell in row.strip().split("\t")] if tabbed else row.rsplit(",", count - 1)
    if len(cells) != count:
        raise InputError(f"{path}: {len(cells)} cells, not {count}: {row.strip()[:80]!r}")
    return [cell.strip() for cell in cells]


def _operator(path: Path, columns: Sequence[str], cells: Sequence[str]) -> OperatorReading:
    by_name = dict(zip(columns, cells, strict=True))
    # The oldest versions write 0 for what is called once.
    called = max(as_number(path, by_name.get("times called", "1")), 1.0)
    name = by_name["name"].removeprefix("[").removesuffix("]")
    return OperatorReading(by_name["node type"], name, as_number(path, by_name["avg ms"]) * called)


def _network(path: Path, lines: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole model: the median where the version says it, else the mean with its interval."""
    graphs = [match[1] for line in lines if (match := _GRAPH.search(line))]
    name = graphs[-1].rpartition("/")[2] if graphs else path.stem
    totals = [match for line in lines if (match := _AVERAGE.search(line))]
    if not totals:
        return
    average_us = as_number(path, totals[-1][1])
    statistics = [match for line in lines if (match := _STATISTICS.search(line)) and "avg=" in match[2]]
    for match in reversed(statistics):
        fields = {name: as_number(path, value) for name, value in _FIELD.findall(match[2])}
        # The section of the operators has a summary of the same form.
        if math.isclose(fields.get("avg", math.nan), average_us, rel_tol=1e-3):
            yield name, _summary(int(match[1]), average_us, fields)
            return
    yield name, latency_row(average_us / 1e3)


def _summary(count: int, average_us: float, fields: dict[str, float]) -> dict[str, Any]:
    if "median" in fields:
        return latency_row(fields["median"] / 1e3, samples=count)
    half_us = NORMAL_95 * fields.get("std", 0.0) / math.sqrt(max(count, 1))
    low, high = max(average_us - half_us, 0.0) / 1e3, (average_us + half_us) / 1e3
    return latency_row(average_us / 1e3, latency_ms_low=low, latency_ms_high=high, samples=count)
