"""Compare two tables of the same layers: which costs really differ, and by how much.

A table holds hundreds of layers; at 5 % each, dozens would differ by chance. So the p-values of all layers are
corrected together (Benjamini & Hochberg 1995), and a difference counts when its corrected value is at most 5 %.

What chance does to a latency is judged from medians of rounds and how they scatter across process starts. Single
readings follow each other within milliseconds, and rounds of one start share its memory layout: either alone would
make everything differ. Three starts say little about one layer's scatter, so layers lend each other theirs (Smyth
2004). Where a table has no samples, the rows' intervals stand in.
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
from netdyno.profiler.samples import by_start
from netdyno.profiler.statistics import NORMAL_95
from netdyno.profiler.table import METRICS, LookupTable

Floats = NDArray[np.float64]

SIGNIFICANCE = 0.05
LENT = 4
"""Starts' worth of scatter that a row borrows from the others."""
FREEDOM = 2 * (LENT + 2)
"""Degrees of freedom of a difference between two rows of three starts each."""
MEDIAN_VARIANCE = math.pi / 2
"""Variance of a median over that of a mean, of many normal values; of three it is 1.35."""
COMPARABLE = ("device", "runtime", "threads", "batch", "precision", "l2")
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
    old, new = before.loc[shared], after.loc[shared]
    spreads = {
        metric: np.hypot(_log_error(baseline, old, metric), _log_error(table, new, metric)) for metric in METRICS
    }
    changes = [change for metric in METRICS for change in _changes(old, new, metric, spreads[metric])]
    if not changes:
        raise InputError(f"tables {table.name} and {baseline.name} have no layer's cost in common")
    return Comparison(
        tuple(changes),
        tuple(map(str, before.index.difference(after.index))),
        tuple(map(str, after.index.difference(before.index))),
        tuple(_differing(table.conditions, baseline.conditions)),
    )


def compare_rows(table: LookupTable, first: str, second: str) -> Change:
    """How a table's network ``second`` differs in latency from ``first``; both were measured in the same rounds."""
    from scipy.stats import t

    before, after = table.networks.loc[[first]], table.networks.loc[[second]]
    old, new = (float(rows["latency_ms"].iloc[0]) for rows in (before, after))
    error = float(np.hypot(*(_log_error(table, rows, "latency_ms") for rows in (before, after)))[0])
    difference = abs(math.log(new / old))
    p = float(2 * t.sf(difference / error, FREEDOM)) if error > 0 else float(difference == 0)
    return Change(second, "latency_ms", old, new, p)


def _valid(table: LookupTable) -> pd.DataFrame:
    return table.layers[table.layers["valid"] == 1]


def _changes(before: pd.DataFrame, after: pd.DataFrame, metric: str, error: Floats) -> Iterator[Change]:
    """Changes of the same rows; ``error`` is the standard error of the logarithm of each ratio, 0 if unknown."""
    known = [rows[metric].astype(float).between(0, math.inf, inclusive="neither") for rows in (before, after)]
    both = (known[0] & known[1]).to_numpy(bool)
    if not both.any():
        return
    from scipy.stats import false_discovery_control, t

    before, after, error = before[both], after[both], error[both]
    values = [rows[metric].to_numpy(float) for rows in (before, after)]
    log_ratio = np.log(values[1] / values[0])
    exact = np.where(log_ratio == 0, 1.0, 0.0)  # without intervals any difference is one
    z = np.abs(log_ratio) / np.where(error > 0, error, 1.0)
    p = false_discovery_control(np.where(error > 0, 2 * t.sf(z, FREEDOM), exact))
    for layer, old, new, corrected in zip(before.index, *values, p, strict=True):
        yield Change(str(layer), metric, float(old), float(new), float(corrected))


def _log_error(table: LookupTable, rows: pd.DataFrame, metric: str) -> Floats:
    """Standard error of the logarithm of each row's cost; 0 where nothing tells."""
    if metric != "latency_ms":
        return np.zeros(len(rows))
    with np.errstate(divide="ignore", invalid="ignore"):  # a stranger's row may hold anything
        width = rows["latency_ms_high"].to_numpy(float) - rows["latency_ms_low"].to_numpy(float)
        own = np.nan_to_num(width / (2 * NORMAL_95 * rows[metric].to_numpy(float)), posinf=0.0)
    # Samples as they were read: from one run to the next a device's own pace counts too.
    found: Floats = np.maximum(own, _start_error(by_start(table.samples, map(str, rows.index))))
    return found


def _start_error(rows: Sequence[Mapping[int, Floats]]) -> Floats:
    """Standard error of the logarithm of each row's median over starts, from how starts scatter; 0 below two.

    A row's variance is drawn towards the median row's, as if that had been seen in :data:`LENT` starts more.
    """
    logs = [np.log([np.median(rounds) for rounds in starts.values()]) for starts in rows]
    counts = np.array([len(row) for row in logs])
    several = counts > 1
    if not several.any():
        return np.zeros(len(rows))
    own = np.array([row.var(ddof=1) if len(row) > 1 else 0.0 for row in logs])
    freedom = np.maximum(counts - 1, 0)
    typical = float(np.median(own[several] / _median_of_variance(freedom[several])))
    moderated = (LENT * typical + freedom * own) / (LENT + freedom)
    error = np.sqrt(MEDIAN_VARIANCE * moderated / np.maximum(counts, 1))
    found: Floats = np.where(several, error, 0.0)
    return found


def _median_of_variance(freedom: NDArray[np.int64]) -> Floats:
    """Half of all sample variances lie below this share of the true one: few values look calmer than they are."""
    from scipy.stats import chi2

    share: Floats = chi2.median(freedom) / freedom
    return share


def _differing(after: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    for name in COMPARABLE:
        if name in before and name in after and before[name] != after[name]:
            yield name
