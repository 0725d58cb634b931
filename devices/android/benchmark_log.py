"""What TFLite's (LiteRT's) ``benchmark_model`` prints and writes: logs, their tables of operators, and its CSV.

Traps: XNNPACK's node types and names contain commas, in a CSV too; the average is of one call, to be multiplied by
how often an operator is called in an inference; columns differ by version and are found by the header; a log with op
profiling has a section on initialisation first; the benchmark app writes all of it into Android's log, where each
line has a prefix.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

LARGEST_NUMBER = 1e12
"""In a log's own unit: ms would be decades."""
_RUN_ORDER = "Run Order"
_REGULAR = "Regular Benchmark Runs"
_INTERNAL = "Delegate internal"
_LOGCAT = re.compile(
    r"^(?:\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,9} +\d{1,9} +\d{1,9} [VDIWEF] [^:]{0,40}"
    r"|[VDIWEF]/[^(]{0,40}\( *\d{1,9}\)): ?",
    re.ASCII,
)
"""What Android's log puts before each line, in its forms ``threadtime`` and ``brief``."""
_LEVEL = re.compile(r"^(?:INFO|WARNING|ERROR): ?")
_TITLE = re.compile(r"={2,200} ([^=]{1,200}) ={2,200}")
_GRAPH = re.compile(r"Graph: \[([^\]]{1,4096})\]")
_STATISTICS = re.compile(r"\bcount=(\d{1,12})\b(.*)", re.ASCII)
_FIELD = re.compile(r"\b(avg|std|median|min|p95)=([-+0-9.e]+)")
_ALL_SAME = re.compile(r"\bcurr=([-+0-9.e]+) ?\(all same\)")
_AVERAGE = re.compile(r"Inference(?: \(avg\))?: ([-+0-9.e]+)")
_LOADED = re.compile(r"\bInit: ([-+0-9.e]+), (?:First inference|no stats): ([-+0-9.e]+)")
_FOOTPRINT = re.compile(r"emory footprint [^:]{0,60}\(MB\): init=[-+0-9.e]+ overall=([-+0-9.e]+)")
_NAME = re.compile(r"^\[(.*)\](:\d+)?$")
"""Outputs in brackets, and the node's number."""
_NUMBER = re.compile(r" *[-+0-9.e]+%? *", re.ASCII)
_DELEGATE = re.compile(r"TfLite\w*Delegate\w*|\w+Delegate(?:Kernel)?")
_PROVIDERS = {"xnn": "XNNPACK", "gpu": "GPU", "nnapi": "NNAPI", "hexagon": "Hexagon", "qnn": "QNN"}


@dataclass(frozen=True)
class Row:
    """An operator: its whole time in one inference, how many inferences were averaged, and what executes it."""

    type: str
    name: str
    latency_ms: float
    samples: int | None = None
    provider: str = ""


@dataclass(frozen=True)
class Summary:
    """Inferences after the warm-up, times in µs; those that a version does not tell are None."""

    count: int | None
    average_us: float
    std_us: float | None = None
    median_us: float | None = None


@dataclass(frozen=True)
class Log:
    """What a log says of the whole model.

    ``load_us`` is how long loading took, ``first_us`` the first inference, ``memory_mb`` what memory has grown by.
    """

    graph: str
    summary: Summary | None
    load_us: float | None
    first_us: float | None
    memory_mb: float | None


@dataclass(frozen=True)
class Operators:
    """The rows of the main graph in run order, and those of what happens inside of its delegates' rows."""

    main: tuple[Row, ...]
    internal: tuple[Row, ...] = ()

    @property
    def partitions(self) -> int:
        """Rows of the main graph that are a delegate's."""
        return sum(_DELEGATE.fullmatch(row.type) is not None for row in self.main)

    def expanded(self) -> list[Row]:
        """Every operator once: a delegate's own, where it tells them, stand for its row."""
        if not self.internal:
            return [replace(row, provider=_provider(row.type)) for row in self.main]
        rows: list[Row] = []
        inside = list(self.internal)
        for row in self.main:
            provider = _provider(row.type)
            if _DELEGATE.fullmatch(row.type) is None:
                rows.append(replace(row, provider=provider))
            else:  # of several partitions it is not told which operator is whose; they follow the first
                rows += [replace(each, provider=provider) for each in inside]
                inside = []
        return rows + inside


def _provider(kind: str) -> str:
    """What executes an operator of this type: a delegate, or the runtime itself."""
    if _DELEGATE.fullmatch(kind) is None:
        return "LiteRT"
    return next((name for part, name in _PROVIDERS.items() if part in kind.lower()), kind)


def number(text: str) -> float:
    """A number of a size that measurements have.

    Raises:
        ValueError: it is none.
    """
    value = float(text)
    if not abs(value) < LARGEST_NUMBER:
        raise ValueError(f"no such number: {text!r:.80}")
    return value


def parse_log(text: str) -> Log:
    """What a log says of the whole model.

    Raises:
        ValueError: a number that is none.
    """
    lines = _lines(text)
    graphs = [match[1] for line in lines if (match := _GRAPH.search(line))]
    loaded = [match for line in lines if (match := _LOADED.search(line))]
    footprints = [match for line in lines if (match := _FOOTPRINT.search(line))]
    return Log(
        graphs[-1] if graphs else "",
        _summary(lines),
        number(loaded[-1][1]) if loaded else None,
        number(loaded[-1][2]) if loaded else None,
        number(footprints[-1][1]) if footprints else None,
    )


def count_runs(text: str) -> int:
    """Count of the times that a log says how long an inference took: once a run."""
    return sum(_AVERAGE.search(line) is not None for line in _lines(text))


def _summary(lines: Sequence[str]) -> Summary | None:
    totals = [(i, match) for i, line in enumerate(lines) if (match := _AVERAGE.search(line))]
    if not totals:
        return None
    at, total = totals[-1]
    average_us = number(total[1])
    # The last one before it: the warm-up has a summary of the same form, and so has the section of the operators.
    for match in (match for line in reversed(lines[:at]) if (match := _STATISTICS.search(line))):
        fields = {name: number(value) for name, value in _FIELD.findall(match[2])}
        if same := _ALL_SAME.search(match[2]):
            fields = {"avg": number(same[1]), "std": 0.0}
        if math.isclose(fields.get("avg", math.nan), average_us, rel_tol=1e-3):
            return Summary(int(match[1]), average_us, fields.get("std"), fields.get("median"))
    return Summary(None, average_us)


def parse_operators(text: str) -> Operators:
    """The tables of operators of the inferences: others are of initialisation, or of other subgraphs.

    Raises:
        ValueError: a table whose columns are not known, or a row that does not fit them.
    """
    lines = _lines(text)
    begin = next((i for i, line in enumerate(lines) if _REGULAR in line), 0)
    inside = next((i for i in range(begin, len(lines)) if lines[i].startswith(_INTERNAL)), len(lines))
    return Operators(tuple(_table(lines, begin, inside)), tuple(_table(lines, inside, len(lines))))


def _lines(text: str) -> list[str]:
    return [_LEVEL.sub("", _LOGCAT.sub("", line)) for line in text.splitlines()]


def _table(lines: Sequence[str], begin: int, end: int) -> Iterator[Row]:
    """Rows of the first table in run order between two lines."""
    titles = (i for i in range(begin, end) if (title := _TITLE.search(lines[i])) and title[1] == _RUN_ORDER)
    first = next(titles, None)
    if first is None:
        return
    header, *rows = [line for line in lines[first + 1 : end] if line.strip()] or [""]
    tabbed = "\t" in header
    columns = [column.strip(" []").lower().replace("_", " ") for column in header.split("\t" if tabbed else ",")]
    columns = [column for column in columns if column]
    if not {"node type", "avg ms", "name"} <= set(columns) or columns[0] != "node type" or columns[-1] != "name":
        raise ValueError(f"no columns of benchmark_model: {header.strip()[:80]!r}")
    for row in rows:
        if row.startswith("=") or row.startswith("Number of nodes"):
            return
        yield _row(columns, _cells(row, len(columns), tabbed=tabbed))


def _cells(row: str, count: int, *, tabbed: bool) -> list[str]:
    """The cells of a row: in a CSV type and name may hold commas, and only numbers stand between them."""
    cells = row.strip().split("\t" if tabbed else ",")
    if len(cells) > count and not tabbed:
        between = count - 2
        starts = (i for i in range(1, len(cells) - between) if all(map(_NUMBER.fullmatch, cells[i : i + between])))
        if (start := next(starts, None)) is not None:
            end = start + between
            cells = [",".join(cells[:start]), *cells[start:end], ",".join(cells[end:])]
    if len(cells) != count:
        raise ValueError(f"{len(cells)} cells, not {count}: {row.strip()[:80]!r}")
    return [cell.strip() for cell in cells]


def _row(columns: Sequence[str], cells: Sequence[str]) -> Row:
    by_name = dict(zip(columns, cells, strict=True))
    # The oldest versions write 0 for what is called once.
    called = max(number(by_name.get("times called", "1")), 1.0)
    name = _NAME.sub(r"\1\2", by_name["name"])
    return Row(by_name["node type"], name, number(by_name["avg ms"]) * called)
