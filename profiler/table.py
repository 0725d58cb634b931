"""Lookup tables: what was measured, under which conditions, and how wrong it is.

A table is a Frictionless data package, a folder with ``datapackage.json``, ``layers.csv``, ``networks.csv`` and, in
tables of ours, ``samples.csv.gz`` and ``windows.csv``. One table is one device, runtime, precision, thread count and
batch. A row's name is a layer's key. With ``@224`` behind it, it is that layer's cost inside a network with 224 px
input; with ``#3``, at the fourth place of a network; such a row counts before the plain key's. The row ``skip`` is
what a place without a layer costs. A network's name is its genes, option indices with spaces between.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from netdyno.base.documents import read_document, require_schema
from netdyno.base.errors import InputError, TableInvalid
from netdyno.base.result import find_parts, reading, replace_result
from netdyno.base.rows import stream_rows
from netdyno.profiler.layers import Layer, parse_layer
from netdyno.profiler.samples import SAMPLES
from netdyno.profiler.windows import WINDOWS

if TYPE_CHECKING:
    from netdyno.profiler.cost.cost import Cost, GeneSpace, LayerCost

DESCRIPTOR = "datapackage.json"
JOURNAL = "journal.sqlite"
SCHEMA = 1
MOST_ROWS = 200_000
"""Rows of a table's layers, or of its networks."""
DESCRIPTIONS = {
    "latency_ms": "median latency of one inference",
    "latency_ms_low": "lower end of its 95 % interval",
    "latency_ms_high": "upper end of its 95 % interval",
    "energy_mj": "net energy of one inference",
    "power_w": "mean net power while running",
    "memory_bytes": "peak memory above an idle process of the runtime",
    "samples": "inferences timed",
    "starts": "process starts they were spread over",
    "method": "how the row came about",
    "valid": "1, or 0 where the row must not be used",
}
COLUMNS = tuple(DESCRIPTIONS)
INTEGERS = ("memory_bytes", "samples", "starts", "valid")
NUMBERS = {column: "Int64" if column in INTEGERS else "float64" for column in COLUMNS if column != "method"}
METRICS = ("latency_ms", "energy_mj", "memory_bytes")
_LARGEST_INTEGER = 2**63 - 1
_SIZE = re.compile(r"@([1-9][0-9]{0,5})")
_PLACE = re.compile(r"#(0|[1-9][0-9]{0,3})")


class RowName(NamedTuple):
    """A layer row's layer, and the network input size or the place that it is for, if it is for one."""

    layer: Layer
    size: int | None = None
    place: int | None = None


@dataclass(frozen=True)
class LookupTable:
    """Costs of layers and of whole networks, indexed by layer key and by genes, with their conditions.

    ``layers`` and ``networks`` have the columns :data:`COLUMNS`; what was not measured is NaN. ``samples`` are the
    medians of rounds that latencies stand on, ``windows`` what energies do; see :mod:`netdyno.profiler.samples` and
    :mod:`netdyno.profiler.windows`. Either may be missing. ``edited`` says that files it was read from were changed
    since it was saved.
    """

    name: str
    conditions: Mapping[str, Any]
    layers: pd.DataFrame
    networks: pd.DataFrame = field(default_factory=lambda: empty_rows("genes"))
    samples: pd.DataFrame = field(default_factory=lambda: SAMPLES.frame([]))
    windows: pd.DataFrame = field(default_factory=lambda: WINDOWS.frame([]))
    edited: bool = False

    def cost(self, space: GeneSpace, metric: str = "latency_ms") -> Cost:
        """The table as a cost on a space: look-ups of layers; of power, a model fitted to its networks.

        Raises:
            InputError: the table has no such metric, lacks layers of the space, or its calibration is none.
            TableInvalid: a cost in it is negative or infinite.
        """
        from netdyno.profiler.cost.power import POWER, fit_power

        return fit_power(self, space) if metric == POWER else self.layer_cost(space, metric)

    def layer_cost(self, space: GeneSpace, metric: str = "latency_ms", *, calibrated: bool = True) -> LayerCost:
        """The table compiled for a space: ``cost(X)`` is array look-ups of layers.

        Where the table has a calibration for the metric it is applied, unless ``calibrated`` is False: then the cost
        is the plain sum of isolated layers. Raises as :meth:`cost` does.
        """
        from netdyno.profiler.cost.additive import compile_cost
        from netdyno.profiler.cost.calibrated import calibrate

        isolated = compile_cost(self, space, metric)
        return calibrate(isolated, space, self.conditions) if calibrated else isolated

    def problems(self) -> list[str]:
        """Everything that no measurement gives, a line each: what ``table check`` reports."""
        found = []
        for rows in (self.layers, self.networks):
            for key, row in rows.iterrows():
                found += [f"{key}: {what}" for what in _row_problems(row)]
        for key in self.layers.index:
            try:
                parse_row(str(key))
            except InputError as error:
                found.append(str(error))
        if not (self.layers["valid"] == 1).any() and not (self.networks["valid"] == 1).any():
            found.append("no row of the table is valid")
        return found

    def check(self) -> None:
        """Make sure that the table holds only what a measurement can give.

        Raises:
            TableInvalid: it does not; the message names the first fault and counts them.
        """
        problems = self.problems()
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise TableInvalid(f"table {self.name}: {problems[0]}{more}")

    def save(self, path: Path, others: Mapping[str, bytes] | None = None) -> None:
        """Write the table's files into a folder, and ``others`` by name; what a table there had is replaced as one.

        Raises:
            InputError: the folder cannot be written.
        """
        files, resources = dict(others or {}), []
        for resource, frame in ((SAMPLES, self.samples), (WINDOWS, self.windows)):
            if not frame.empty:
                files[resource.path] = resource.content(frame)
                resources.append(resource.entry())
        for name, index, rows in (("layers", "layer", self.layers), ("networks", "genes", self.networks)):
            files[f"{name}.csv"] = rows.to_csv(index_label=index, lineterminator="\n").encode()
            resources.append(_resource(name, index))
        descriptor = {
            "name": self.name,
            "schema": SCHEMA,
            "profile": "tabular-data-package",
            "resources": resources,
            "conditions": _finite(self.conditions),
        }
        replace_result(path, DESCRIPTOR, descriptor, files, former=(SAMPLES.path, WINDOWS.path))


def is_measured(path: Path) -> bool:
    """True where a folder holds a table that was measured, or readings of one, and not one that was imported."""
    if os.path.lexists(path / JOURNAL):
        return True
    try:
        conditions = read_document(path / DESCRIPTOR)["conditions"]
    except (InputError, KeyError):
        return False
    return isinstance(conditions, dict) and "versions" in conditions


def parse_row(key: str) -> RowName:
    """What a layer row's name says.

    Raises:
        InputError: not a row's name.
    """
    end = min((at for at in map(key.find, "@#") if at >= 0), default=len(key))
    size, place = _SIZE.fullmatch(key, end), _PLACE.fullmatch(key, end)
    if end < len(key) and not (size or place):
        raise InputError(
            f"not a layer: {key!r}; behind @ stands the network's input size, behind # a place", layer=key
        )
    return RowName(parse_layer(key[:end]), int(size[1]) if size else None, int(place[1]) if place else None)


def format_genes(genes: Iterable[int]) -> str:
    """A network row's name: option indices with spaces between."""
    return " ".join(str(int(gene)) for gene in genes)


def shipped_tables() -> Path:
    """The folder of the tables that ship with netdyno: beside the code, in the repository and installed alike."""
    return Path(__file__).resolve().parents[1] / "tables"


def empty_rows(index: str) -> pd.DataFrame:
    """No rows, with all columns."""
    return make_rows(index, {})


def make_rows(index: str, rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Rows by name, with all columns; what a row lacks is missing, and it is valid unless it says otherwise.

    ``method`` becomes one line, as a row of the file is.
    """
    filled = [{"valid": 1, **row, "method": " ".join(row.get("method", "").split())} for row in rows.values()]
    names = pd.Index(list(rows), name=index, dtype="str")
    frame = pd.DataFrame(filled, index=names, columns=list(COLUMNS), dtype=object)
    return frame.astype({**NUMBERS, "method": "str"})


def load_table(path: Path) -> LookupTable:
    """Read a table's folder; everything in it is hostile until parsed.

    Structure and types are checked here, plausibility in :meth:`LookupTable.check`.

    Raises:
        InputError: no table there, or a file of it that cannot be understood.
    """
    if not os.path.isdir(path):
        raise InputError(f"{path}: no table here; a table is a folder with {DESCRIPTOR}")
    with reading(path):
        descriptor = read_document(path / DESCRIPTOR)
        require_schema(descriptor, path / DESCRIPTOR, SCHEMA)
        name, conditions = descriptor.get("name"), descriptor.get("conditions")
        if not isinstance(name, str) or not isinstance(conditions, dict):
            raise InputError(f"{path / DESCRIPTOR}: not the descriptor of a table: name or conditions")
        try:
            parts = find_parts(path, descriptor)
        except ValueError as error:
            raise InputError(f"{path / DESCRIPTOR}: not the descriptor of a table: {error}") from error
        layers, networks = (
            _read_csv(parts.path(f"{rows}.csv") or path / f"{rows}.csv", index)
            for rows, index in (("layers", "layer"), ("networks", "genes"))
        )
        samples, windows = (resource.read(parts.path(resource.path)) for resource in (SAMPLES, WINDOWS))
    parts.tell()
    return LookupTable(name, conditions, layers, networks, samples, windows, bool(parts.edited))


def _read_csv(path: Path, index: str) -> pd.DataFrame:
    rows: dict[str, dict[str, Any]] = {}
    for row in stream_rows(path, (index, *COLUMNS), MOST_ROWS):
        key = row[index]
        if key in rows:
            raise InputError(f"{path}: {key!r} stands there twice")
        rows[key] = {column: _cell(path, key, column, row[column]) for column in COLUMNS if row[column] != ""}
    return make_rows(index, rows)


def _cell(path: Path, key: str, column: str, text: str) -> float | int | str:
    if column == "method":
        return text
    try:
        number = int(text) if column in INTEGERS else float(text)
    except ValueError:
        raise InputError(f"{path}: {column} of {key!r} is no number: {text!r}") from None
    if column in INTEGERS and abs(number) > _LARGEST_INTEGER:
        raise InputError(f"{path}: {column} of {key!r} is too large: {text}")
    return number


def _row_problems(row: pd.Series[Any]) -> list[str]:
    if row["valid"] == 0:
        return []
    measured = {column: float(row[column]) for column in NUMBERS if not pd.isna(row[column])}
    problems = [] if any(metric in measured for metric in METRICS) else ["has no cost at all"]
    if measured["valid"] != 1:
        problems.append(f"valid is {measured['valid']:g}, not 0 or 1")
    for column, value in measured.items():
        if not math.isfinite(value) or value < 0 or (column in METRICS and value == 0):
            problems.append(f"{column} is {value:g}")
    ends = [measured.get(column, math.nan) for column in ("latency_ms_low", "latency_ms", "latency_ms_high")]
    if ends[0] > ends[1] or ends[1] > ends[2]:
        problems.append("latency_ms lies outside its own interval")
    return problems


def _finite(value: Any) -> Any:
    """Conditions as JSON can hold them: what is not a number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _resource(name: str, index: str) -> dict[str, Any]:
    fields = [{"name": index, "type": "string", "description": f"the row's {index}"}]
    for column, text in DESCRIPTIONS.items():
        kind = "integer" if column in INTEGERS else "number" if column in NUMBERS else "string"
        fields.append({"name": column, "type": kind, "description": text})
    return {
        "name": name,
        "path": f"{name}.csv",
        "format": "csv",
        "encoding": "utf-8",
        "schema": {"fields": fields, "primaryKey": index},
    }
