"""Rows of imported tables: numbers that were measured, or the reason why a number cannot have been."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netdyno.base.errors import InputError
from netdyno.profiler.layers import count_operators

MOST_LINES = 20
LONGEST_LINE = 400


@dataclass(frozen=True)
class OperatorReading:
    """What a foreign profile says of one operator: total time in one inference, and how many were averaged."""

    type: str
    name: str
    latency_ms: float
    samples: int | None = None


def latency_row(latency_ms: float, **columns: Any) -> dict[str, Any]:
    """A row with a latency; not valid, and why, if nothing can take that long."""
    plausible = math.isfinite(latency_ms) and latency_ms > 0
    known = {name: value for name, value in columns.items() if value is not None}
    if plausible:
        return {"latency_ms": latency_ms, "method": "imported", **known}
    return {"latency_ms": latency_ms, "method": f"refused: a latency of {latency_ms:g} ms", "valid": 0, **known}


def operator_rows(path: Path, readings: Iterable[OperatorReading]) -> dict[str, dict[str, Any]]:
    """Rows of operators in execution order.

    Raises:
        InputError: there are none.
    """
    each = list(readings)
    operators = count_operators((reading.type, reading.name) for reading in each)
    rows = {
        operator.key: latency_row(reading.latency_ms, samples=reading.samples)
        for operator, reading in zip(operators, each, strict=True)
    }
    if not rows:
        raise InputError(f"{path}: no operator in this profile")
    return rows


def left_out(lines: Iterable[str]) -> dict[str, Any]:
    """Lines for what stands in a file and not in its table, for the table's conditions; nothing where all does."""
    each = list(dict.fromkeys(lines))
    rest = [f"and {len(each) - MOST_LINES} more"] if len(each) > MOST_LINES else []
    return {"left_out": [line[:LONGEST_LINE] for line in each[:MOST_LINES]] + rest} if each else {}


def other_fields(
    entries: Iterable[Mapping[str, Any]], known: Collection[str], what: str = "of each entry:"
) -> list[str]:
    """A line that names the fields of a file's entries that no table of ours has; none where there are none."""
    names = sorted({name for entry in entries for name in entry if name not in known})
    return [f"{what} {', '.join(names)}"] if names else []
