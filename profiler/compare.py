"""Compare two tables of the same layers: which costs really differ, and by how much.

A table holds hundreds of layers; at 5 % each, dozens would differ by chance. So the p-values of all layers are
corrected together (Benjamini & Hochberg 1995), and a difference counts when its corrected value is at most 5 %. Each
p-value comes from the rows' intervals. In tables of ours those stand on medians of rounds, not on single readings:
these follow each other within milliseconds and would make everything differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.base.errors import InputError, UnknownName
from netdyno.profiler.table import METRICS, LookupTable

SIGNIFICANCE = 0.05
NORMAL_95 = 1.96
COMPARABLE = ("device", "runtime", "threads", "batch", "precision")
SHORT = {metric.rpartition("_")[0]: metric for metric in METRICS}
"""``latency`` for ``latency_ms`` and so on, as the command line names metrics."""


@dataclass(frozen=True)
class Limit:
    """A metric may rise by at most this fraction."""

    metric: str
    fraction: float


@dataclass(frozen=True)
class Change:
    """A layer's cost in two tables; ``p`` is corrected over all layers of the comparison."""

    layer: str
    metric: str
    before: float
    after: float
    p: float

    @property
    def fraction(self) -> float:
        """How much larger the cost has become, relative to before."""
        return self.after / self.before - 1

    @property
    def significant(self) -> bool:
        """Whether chance is a poor explanation."""
        return self.p <= SIGNIFICANCE

    def exceeds(self, limit: Limit) -> bool:
        """Whether the rise is real and above the limit."""
        return self.metric == limit.metric and self.significant and self.fraction > limit.fraction

    def __str__(self) -> str:
        return f"{self.layer}: {self.metric} {self.before:.5g} -> {self.after:.5g} ({self.fraction:+.1%})"


@dataclass(frozen=True)
class Comparison:
    """Changes of every metric and layer that both tables have, layers that only one has, differing conditions."""

    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    conditions: tuple[str, ...]

    def of(self, metric: str) -> list[Change]:
        """The changes of one metric."""
        return [change for change in self.changes if change.metric == metric]

    def offences(self, limits: Sequence[Limit]) -> list[Change]:
        """What rises above a limit, the largest rise first."""
        found = [change for change in self.changes if any(change.exceeds(limit) for limit in limits)]
        return sorted(found, key=lambda change: -change.fraction)


def parse_limit(text: str) -> Limit:
    """A limit such as ``latency:5%``.

    Raises:
        InputError: not of that form.
        UnknownName: no such metric.
    """
    name, _, percent = text.partition(":")
    if name not in SHORT and name not in METRICS:
        raise UnknownName("metric", name, SHORT)
    try:
        fraction = float(percent.removesuffix("%")) / 100
    except ValueError:
        fraction = math.nan
    if not (math.isfinite(fraction) and fraction >= 0):
        raise InputError(f"a limit is a metric and a percentage, latency:5% for one, not {text!r}")
    return Limit(SHORT.get(name, name), fraction)


def compare_tables(table: LookupTable, baseline: LookupTable) -> Comparison:
    """What has changed in ``table`` since ``baseline``; only valid rows count.

    Raises:
        InputError: they have no layer with a metric in common.
    """
    after, before = _valid(table), _valid(baseline)
    shared = before.index.intersection(after.index)
    changes = [change for metric in METRICS for change in _changes(before.loc[shared], after.loc[shared], metric)]
    if not changes:
        raise InputError(f"tables {table.name} and {baseline.name} have no layer's cost in common")
    return Comparison(
        tuple(changes),
        tuple(map(str, before.index.difference(after.index))),
        tuple(map(str, after.index.difference(before.index))),
        tuple(_differing(table.conditions, baseline.conditions)),
    )


def _valid(table: LookupTable) -> pd.DataFrame:
    return table.layers[table.layers["valid"] == 1]


def _changes(before: pd.DataFrame, after: pd.DataFrame, metric: str) -> Iterator[Change]:
    known = [rows[metric].astype(float).between(0, math.inf, inclusive="neither") for rows in (before, after)]
    before, after = (rows[known[0] & known[1]] for rows in (before, after))
    if not len(before):
        return
    from scipy.stats import false_discovery_control, norm

    values = [rows[metric].to_numpy(float) for rows in (before, after)]
    log_ratio = np.log(values[1] / values[0])
    error = np.hypot(_log_error(before, metric), _log_error(after, metric))
    exact = np.where(log_ratio == 0, 1.0, 0.0)  # without intervals any difference is one
    z = np.abs(log_ratio) / np.where(error > 0, error, 1.0)
    p = false_discovery_control(np.where(error > 0, 2 * norm.sf(z), exact))
    for layer, old, new, corrected in zip(before.index, *values, p, strict=True):
        yield Change(str(layer), metric, float(old), float(new), float(corrected))


def _log_error(rows: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """Standard error of the logarithm of each cost, from its interval; 0 where there is none."""
    if f"{metric}_low" not in rows:
        return np.zeros(len(rows))
    width = rows[f"{metric}_high"].to_numpy(float) - rows[f"{metric}_low"].to_numpy(float)
    error: NDArray[np.float64] = np.nan_to_num(width / (2 * NORMAL_95 * rows[metric].to_numpy(float)))
    return error


def _differing(after: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    for name in COMPARABLE:
        if name in before and name in after and before[name] != after[name]:
            yield name
