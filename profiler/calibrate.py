"""Calibrate a table on the whole networks in it, and state its error on those that the calibration did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from netdyno.base.errors import InputError
from netdyno.profiler.cost.additive import compile_cost
from netdyno.profiler.cost.calibrated import LEAST, TERMS, fit_calibration
from netdyno.profiler.plan import BETWEEN, CALIBRATION, VALIDATION, Group
from netdyno.profiler.samples import by_start, usual
from netdyno.profiler.table import LookupTable
from netdyno.profiler.validation import noise_floor_pct, score

LATENCY = "latency_ms"
STATED = {VALIDATION: "unseen", BETWEEN: "between"}


def calibrate_table(table: LookupTable, plan: Sequence[Group]) -> LookupTable:
    """The table with ``calibration`` and ``validation`` among its conditions, as far as enough was measured.

    ``validation`` holds, for each metric, the error on ``unseen`` random networks and on networks at input sizes
    ``between`` the measured ones: of the calibrated cost and of the plain sum of isolated layers, beside the noise
    floor of the measured latency itself. A calibration that makes errors larger is not kept.
    """
    fitted = {metric: _fit(table, group, metric) for group in plan if group.role == CALIBRATION for metric in TERMS}
    calibrated = _with(table, "calibration", fitted)
    errors = {metric: dict(_errors(calibrated, plan, metric)) for metric in TERMS}
    worse = [metric for metric, own in errors.items() if _is_worse(own.get(STATED[VALIDATION], {}))]
    if worse:  # a hurried run: too noisy to be corrected
        kept = {metric: own for metric, own in fitted.items() if metric not in worse}
        calibrated = _with(table, "calibration", kept)
        errors = {metric: dict(_errors(calibrated, plan, metric)) for metric in TERMS}
    return _with(calibrated, "validation", errors)


def _is_worse(unseen: Mapping[str, Any]) -> bool:
    """Whether the plain sum does better on networks that the calibration did not see."""
    calibrated = unseen.get("calibrated")
    return calibrated is not None and bool(calibrated["mape_pct"] > unseen["isolated"]["mape_pct"])


def _with(table: LookupTable, name: str, found: Mapping[str, Mapping[str, Any]]) -> LookupTable:
    """The table with what was found for each metric among its conditions; nothing where nothing was."""
    known = {metric: value for metric, value in found.items() if value}
    return replace(table, conditions={**table.conditions, name: known}) if known else table


def _fit(table: LookupTable, group: Group, metric: str) -> Mapping[str, float]:
    """The calibration's coefficients; none where fewer networks were measured than it needs, or not every layer."""
    measured = _measured(table, group, metric)
    if measured.sum() < LEAST or not _covers(table, group, metric):
        return {}
    y = table.networks.loc[group.names(), metric].to_numpy(float)[measured]
    isolated = compile_cost(table, group.space, metric)
    return fit_calibration(isolated, group.space, group.X[measured], y).coefficients


def _errors(table: LookupTable, plan: Sequence[Group], metric: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for group in plan:
        if group.role not in STATED or not _covers(table, group, metric):
            continue
        measured = _measured(table, group, metric)
        names = np.array(group.names())[measured]
        y = table.networks.loc[names, metric].to_numpy(float)
        isolated = table.layer_cost(group.space, metric, calibrated=False)
        plain = score(isolated(group.X[measured]), y)
        if plain is None:
            continue
        errors: dict[str, Any] = {"networks": len(y), "isolated": asdict(plain)}
        if metric in table.conditions.get("calibration", {}):
            calibrated = score(table.layer_cost(group.space, metric)(group.X[measured]), y)
            errors["calibrated"] = calibrated and asdict(calibrated)
        if metric == LATENCY:
            errors["noise_floor_pct"] = noise_floor_pct(by_start(usual(table.samples), names))
        yield STATED[group.role], errors


def _measured(table: LookupTable, group: Group, metric: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which networks of a group have a valid figure, ``(n,)``."""
    rows = table.networks.loc[group.names()]
    known: np.ndarray[Any, np.dtype[np.bool_]] = ((rows["valid"] == 1) & rows[metric].notna()).to_numpy(bool)
    return known


def _covers(table: LookupTable, group: Group, metric: str) -> bool:
    """Whether every layer of the group's networks has a figure."""
    try:
        table.layer_cost(group.space, metric, calibrated=False)(group.X)
    except InputError:
        return False
    return True
