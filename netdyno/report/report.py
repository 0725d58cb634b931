"""Write a run's report: gather what the run folder holds, draw it, and put it on one page.

Links lead only to a bundle's own files.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netdyno.base.errors import InputError, TableInvalid
from netdyno.base.units import format_bytes
from netdyno.exporters.card import CARD, read_card
from netdyno.nas.space import parse_genes
from netdyno.profiler.table import LookupTable, load_table
from netdyno.report import facts
from netdyno.report.breakdown import Part, breakdown
from netdyno.report.page import write_page
from netdyno.runs import BUNDLES, REPORT, Run
from netdyno.targets import split_constraint

COSTLIEST = 5
NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
_FOLDER_NAME = re.compile(r"[\w+-][\w.+ -]{0,99}", re.ASCII)

Breakdowns = list[tuple[str, list[Part]]]


@dataclass(frozen=True)
class Winner:
    """A shipped network: its row of the measured points, and the files of its bundle that are there."""

    row: Mapping[Any, Any]
    input: str
    bundle: str
    files: list[tuple[str, str]]

    @property
    def verify(self) -> str:
        """The command that checks the bundle, from the run's folder."""
        return f"netdyno verify {shlex.quote(self.bundle)}"


def write_report(run: Run) -> Path:
    """Write ``report.html`` into the run's folder; returns its path.

    Raises:
        MissingExtra: plotly or jinja2 is not installed.
        InputError: a measured point is no network of the space, or the folder cannot be written.
    """
    networks, missing = _where_time_goes(run)
    content = _content(run, networks, missing)
    return write_page(run.path / REPORT, "page.html.j2", _figures(run, networks), content)


def _where_time_goes(run: Run) -> tuple[Breakdowns, str]:
    table, problem = _table(run)
    return _breakdowns(run, table) if table else ([], problem)


def _content(run: Run, networks: Breakdowns, missing: str) -> dict[str, Any]:
    """All that the template shows."""
    from netdyno.report.figures import MEASURED, PREDICTED, stage_colours

    table, problem = _table(run)
    conditions = table.conditions if table else {}
    winners = [_winner(run, row) for row in run.winners.to_dict("records")]
    device = facts.text(facts.section(conditions, "device").get("name"))
    setting = [(name, facts.text(conditions.get(name))) for name in ("runtime", "threads", "precision")]
    return {
        "headline": _headline(run, device),
        "setting": [("device", device), *setting, ("measured", facts.date(conditions.get("measured")))],
        "run": run,
        "winners": winners,
        "measured": run.measured.sort_values("latency_ms").to_dict("records"),
        "flat": _flat(run),
        "descended": _descended(run),
        "colours": {"predicted": PREDICTED, "measured": MEASURED, "shipped": MEASURED},
        "agreement": _agreement(run.measured),
        "networks": [(name, _total(parts), _costliest(parts), len(parts) - 1) for name, parts in networks],
        "stages": stage_colours(networks),
        "missing": missing,
        "conditions": [*(facts.table_facts(table, run) if table else []), facts.search_facts(run)],
        "problem": problem,
        "states": facts.states(table) if table else [],
    }


def _table(run: Run) -> tuple[LookupTable | None, str]:
    """The table that the run was searched with, or why there is none."""
    folder = run.resolve("table")
    if folder is None:
        return None, "this run was searched without a lookup table"
    try:
        return load_table(folder), ""
    except InputError as error:
        return None, str(error)


def _breakdowns(run: Run, table: LookupTable) -> tuple[Breakdowns, str]:
    """Where the time goes in each winner, or why that cannot be said."""
    try:
        table.check()
        cost = table.layer_cost(run.space, "latency_ms")
        found = [
            (row["winner"], breakdown(cost, run.space, parse_genes(run.space, row["genes"])))
            for row in run.winners.to_dict("records")
        ]
    except (InputError, TableInvalid) as error:
        return [], str(error)
    return found, "" if found else "no network of this run was measured and shipped yet"


def _winner(run: Run, row: Mapping[Any, Any]) -> Winner:
    name = row["winner"]
    first = run.space.layers(parse_genes(run.space, row["genes"]))[0]
    size = " × ".join(map(str, first.input_shape[2:]))
    if not _FOLDER_NAME.fullmatch(name):
        return Winner(row, size, "", [])
    bundle = f"{BUNDLES}/{name}"
    return Winner(row, size, bundle, _bundle_files(run.path / bundle))


def _bundle_files(folder: Path) -> list[tuple[str, str]]:
    """Name and size of a bundle's files, as far as its card lists them and they are there."""
    try:
        names = [CARD, *(file.name for file in read_card(folder / CARD).files)]
    except InputError:
        return []
    return [(name, format_bytes((folder / name).stat().st_size)) for name in names if (folder / name).is_file()]


def _headline(run: Run, device: str) -> str:
    where = f"this {device}" if device else "this device"
    if len(run.winners):
        ends = [_reading(row) for row in run.winners.iloc[[0, -1][: len(run.winners)]].to_dict("records")]
        return f"{_count(len(run.winners), 'network')} for {where}: {' to '.join(ends)}"
    return f"{_count(len(run.front), 'network')} on the predicted front for {where}: {_predicted_ends(run)}"


def _reading(row: Mapping[Any, Any]) -> str:
    latency, accuracy = row["latency_ms"], row["test_accuracy_pct"]
    return f"{facts.quantity(latency, 'ms', '.2f')} at {facts.quantity(accuracy, '%', '.1f')}"


def _predicted_ends(run: Run) -> str:
    from netdyno.report.figures import axis_of

    ends = []
    for name, column in zip(run.front.objectives, run.front.F.T, strict=True):
        axis = axis_of(name)
        values = axis(column)
        low, high = f"{values.min():.3g}", f"{values.max():.3g}"
        ends.append(f"{axis.title.lower()} {low if low == high else f'{low} to {high}'} {axis.unit}".strip())
    return ", ".join(ends)


def _count(n: int, noun: str) -> str:
    return f"{NUMBERS[n] if n < len(NUMBERS) else n} {noun}{'' if n == 1 else 's'}"


def _agreement(measured: pd.DataFrame) -> dict[str, str]:
    """In words, how far predictions are from measurements."""
    if not len(measured):
        return {}
    pairs = {name: measured[[f"{name}_predicted", name]].to_numpy(float).T for name in ("latency_ms", "accuracy_pct")}
    with np.errstate(divide="ignore", invalid="ignore"):
        latency = (pairs["latency_ms"][0] / pairs["latency_ms"][1] - 1) * 100
    accuracy = pairs["accuracy_pct"][0] - pairs["accuracy_pct"][1]
    return {
        "latency": _off(latency, "%", pairs["latency_ms"]),
        "accuracy": _off(accuracy, "points", pairs["accuracy_pct"]),
    }


def _off(errors: Any, unit: str, pair: Any) -> str:
    mean, high, n = np.abs(errors).mean(), int((errors > 0).sum()), len(errors)
    words = f"Predictions are off by {facts.quantity(mean, unit, '.1f')} on average; {high} of {n} are too high"
    if n < 2:
        return f"{words}."
    ordered = facts.quantity(100 * _ordered(*pair), "%", ".0f")
    return f"{words}. They put {ordered} of all pairs in the right order."


def _ordered(predicted: Any, measured: Any) -> float:
    """The share of pairs that stand in the same order in both."""
    one, other = np.triu_indices(len(measured), 1)
    return float(np.mean((predicted[one] > predicted[other]) == (measured[one] > measured[other])))


def _total(parts: Sequence[Part]) -> float:
    return math.fsum(part.latency_ms for part in parts)


def _costliest(parts: Sequence[Part]) -> list[tuple[Part, float]]:
    """The layers that take longest, each with its share in percent."""
    total = _total(parts) or math.inf
    found = sorted(parts[1:], key=lambda part: -part.latency_ms)[:COSTLIEST]
    return [(part, 100 * part.latency_ms / total) for part in found]


def _flat(run: Run) -> str:
    """Why there is no front to draw, if there is none."""
    from netdyno.report.figures import axes_of

    if axes_of(run.front) is None:
        return "The run has one objective, so its front is a single point and there is nothing to draw."
    if len(run.front) == 1 and not len(run.measured):
        return "The run found one network, so there is no front to draw."
    return ""


def _descended(run: Run) -> list[tuple[str, str]]:
    """The options of a network that was found by descent, layer by layer."""
    if not len(run.history) or len(run.front) != 1:
        return []
    (architecture,) = run.space.decode(run.front.X)
    return [(name, " ".join(map(str, values))) for name, values in architecture.items()]


def _target(run: Run) -> float | None:
    """The limit that a descent kept to."""
    constraints = run.descriptor.get("constraints")
    if not (isinstance(constraints, list) and constraints and isinstance(constraints[0], str)):
        return None
    try:
        return split_constraint(constraints[0])[2]
    except InputError:
        return None


def _figures(run: Run, networks: Breakdowns) -> dict[str, Any]:
    """The figures by the page's ids."""
    from netdyno.report import figures

    drawn = {}
    if not _flat(run) and (chosen := figures.axes_of(run.front)):
        drawn["front"] = figures.front_figure(run.front, chosen, run.measured)
    if len(history := run.history):
        drawn["descent"] = figures.descent_figure(history, run.front.objectives[0], _target(run))
        drawn["loss"] = figures.loss_figure(history)
    if len(leads := run.leads):
        drawn["leads"] = figures.leads_figure(leads)
    if len(run.measured):
        drawn["latency"] = figures.parity_figure(run.measured, "latency_ms", "ms")
        drawn["accuracy"] = figures.parity_figure(run.measured, "accuracy_pct", "%")
    if networks:
        drawn["layers"] = figures.breakdown_figure(networks)
    return drawn
