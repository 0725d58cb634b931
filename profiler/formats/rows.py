"""Rows of imported tables: numbers that were measured, or the reason why a number cannot have been."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netdyno.base.errors import InputError
from netdyno.profiler.layers import count_operators


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
