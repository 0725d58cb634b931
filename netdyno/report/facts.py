"""What a report says of the conditions: a run's and a table's JSON, which may be anyone's, as short lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from netdyno.base.units import format_bytes
from netdyno.profiler.layers import Overhead
from netdyno.profiler.table import LookupTable
from netdyno.runs import Run

Rows = list[tuple[str, str]]
SPACE = "\u00a0"
"""What stands between a number and its unit: a space that no line breaks at."""
_LONGEST = 200
_METHOD = (
    ("budget_s", "Budget", "{:g} s"),
    ("warm_up_s", "Warm-up", "{:g} s"),
    ("visit_s", "A visit takes", "{:g} s"),
    ("least_rounds", "Rounds, at least", "{:g}"),
    ("most_rounds", "Rounds, at most", "{:g}"),
    ("spread", "Tight enough", "± {:.1%}"),
    ("seed", "Seed of the shuffling", "{:g}"),
)


@dataclass(frozen=True)
class Facts:
    """A heading and labelled lines under it."""

    title: str
    rows: Rows


def section(values: Any, name: str) -> Mapping[str, Any]:
    """The object of that name in a JSON object, or an empty one."""
    found = values.get(name) if isinstance(values, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def text(value: Any) -> str:
    """A JSON value on a line; what is no text and no number is left out."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[:_LONGEST] if isinstance(value, str | int) else ""


def date(value: Any) -> str:
    """A time stamp as a date that is read the same everywhere; whatever else it is, unchanged."""
    try:
        return f"{datetime.fromisoformat(text(value)):%-d %B %Y, %H:%M %Z}".strip(" ,")
    except ValueError:
        return text(value)


def quantity(value: float, unit: str, digits: str = ".3g") -> str:
    """A number with its unit, or a dash where there is none."""
    return f"{value:{digits}}{SPACE}{unit}".strip() if math.isfinite(value) else "–"


def table_facts(table: LookupTable, run: Run) -> list[Facts]:
    """The conditions under which a run's table was measured."""
    return [_device_facts(table), _software_facts(table), _measuring_facts(table, run)]


def _device_facts(table: LookupTable) -> Facts:
    """What the table was measured on."""
    device = dict(section(table.conditions, "device"))
    named = {"name": device.pop("name", ""), **device}
    if "virtual_machine" in named:
        named["virtual_machine"] = "yes" if named["virtual_machine"] else "no"
    return Facts("Device", _rows(named))


def _software_facts(table: LookupTable) -> Facts:
    """What ran there, and in which versions."""
    settings = {name: table.conditions.get(name) for name in ("runtime", "threads", "batch", "precision")}
    return Facts("Software", _rows(settings) + _rows(section(table.conditions, "versions"), capital=False))


def _measuring_facts(table: LookupTable, run: Run) -> Facts:
    """How the readings were taken and how far they scatter."""
    layers = table.layers[table.layers["valid"] == 1]
    overhead = layers["latency_ms"].get(Overhead().key, math.nan)
    rows = [
        ("Measured", date(table.conditions.get("measured"))),
        ("Order", "shuffled rounds, each layer visited once a round"),
        ("Figure", "median of the visits' medians, 95 % bootstrap interval"),
        ("Visits when the device was slow", _slowed(table)),
        ("Layers in the table", f"{len(layers.index.drop(Overhead().key, errors='ignore')):,}"),
        ("Readings", f"{int(layers['samples'].fillna(0).sum()):,}"),
        ("Overhead of a call", "" if pd.isna(overhead) else quantity(float(overhead), "ms")),
        ("Median interval, layers", _noise(layers)),
        ("Median interval, networks", _noise(run.measured)),
    ]
    unseen = section(section(section(table.conditions, "validation"), "latency_ms"), "unseen")
    for label, source in (("Error on unseen networks", "calibrated"), ("Of the plain sum of layers", "isolated")):
        rows.append((label, _number(section(unseen, source).get("mape_pct"), "{:.2f}%")))
    rows.append(("Noise floor", _number(unseen.get("noise_floor_pct"), "{:.2f}%")))
    method = section(table.conditions, "method")
    rows += [(label, _number(method.get(name), form)) for name, label, form in _METHOD]
    return Facts("Measuring", [(label, value) for label, value in rows if value])


def _slowed(table: LookupTable) -> str:
    """Share of visits when the device was slow; nothing where a table does not tell."""
    share = _number(table.conditions.get("slowed_visits_pct"), "{:.1f}%")
    return f"{share}, taken off" if share else ""


def search_facts(run: Run) -> Facts:
    """What was searched, how, and on what."""
    given = run.descriptor
    predictor = section(given, "predictor")
    rows = [
        ("Space", run.space.name),
        *((_label(name), str(value).strip("[]")) for name, value in run.space.parameters.items()),
        ("Method", text(given.get("method"))),
        ("Objectives", ", ".join(run.front.objectives)),
        ("Evaluations", _number(given.get("evaluations"), "{:,.0f}")),
        ("Seed", text(given.get("seed"))),
        ("On the front", str(len(run.front))),
        ("Measured for real", str(len(run.measured))),
        ("Data", text(given.get("data"))),
        ("Accuracy predictor", text(predictor.get("method"))),
        ("Its cross-validated error", _number(predictor.get("cv_mae_pct"), "{:.2f} points")),
    ]
    return Facts("Search", [(label, value) for label, value in rows if value])


def states(table: LookupTable) -> list[tuple[str, str, str]]:
    """What may change while measuring: its name, before, and after."""
    before, after = (section(table.conditions, name) for name in ("state_before", "state_after"))
    return [(_label(name), text(before.get(name)), text(after.get(name))) for name in {**before, **after}]


def _rows(values: Mapping[str, Any], capital: bool = True) -> Rows:
    rows = []
    for name, value in values.items():
        size = _size(value) if name.endswith("_bytes") else ""
        label = _label(name.removesuffix("_bytes")) if capital else name[:_LONGEST]
        rows.append((label, size or text(value)))
    return [(label, value) for label, value in rows if value]


def _label(name: str) -> str:
    words = name[:_LONGEST].replace("_", " ").replace("cpus", "CPUs").replace("mhz", "MHz")
    return words.upper() if words in ("os", "id") else words[:1].upper() + words[1:]


def _size(value: Any) -> str:
    number = _finite(value)
    return "" if number is None else format_bytes(number)


def _number(value: Any, form: str) -> str:
    number = _finite(value)
    return "" if number is None else form.format(number).replace("%", f"{SPACE}%")


def _finite(value: Any) -> float | None:
    """A JSON number; a run's file may hold NaN, or an integer beyond any float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None


def _noise(rows: pd.DataFrame) -> str:
    """The median of the intervals' widths, relative to their figures."""
    middle, low, high = (rows[f"latency_ms{end}"].astype(float) for end in ("", "_low", "_high"))
    width = ((high - low) / middle).median()
    return "" if pd.isna(width) else f"{quantity(100 * width, '%', '.1f')} wide"
