"""Text of the command line to numbers with units, and back."""

from __future__ import annotations

import math
import re

from netdyno.base.errors import InputError

_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|min|m|h|)\s*")
_SHAPE = re.compile(r"(?:(?P<name>.+):)?(?P<shape>[0-9]{1,10}(?:x[0-9]{1,10})*|scalar)", re.DOTALL)
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 1 << 10, "mib": 1 << 20}
_BYTES |= {"gib": 1 << 30, "tib": 1 << 40}
_SIZE = re.compile(r"\s*([0-9]{1,19}(?:\.[0-9]{0,9})?)\s*([kmgt]i?b|b|)\s*", re.IGNORECASE | re.ASCII)
_LARGEST_SIZE = 10**18
_LARGEST_DIMENSION = 2**31 - 1


def parse_duration(text: str) -> float:
    """Seconds of ``60s``, ``2min``, ``500ms``, ``1h`` or a plain number of seconds.

    Raises:
        InputError: not a positive duration.
    """
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0 or not math.isfinite(seconds):
        raise InputError(f"not a positive duration: {text!r}; write it like 60s, 2min or 500ms")
    return seconds


def parse_bytes(text: str) -> int:
    """Bytes of ``4GB``, ``500MB``, ``2GiB`` or a plain number of bytes.

    Raises:
        InputError: not a positive size below an exabyte.
    """
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _BYTES[match[2].lower()]) if match else 0
    if not 0 < size < _LARGEST_SIZE:
        raise InputError(f"not a size of memory: {text!r}; write it like 4GB or 500MB")
    return size


def parse_shape(text: str) -> tuple[str | None, tuple[int, ...]]:
    """Name (or None) and shape of ``NAME:1x3x224x224`` or ``NAME:scalar``; a name may contain colons itself.

    Raises:
        InputError: not of that form.
    """
    match = _SHAPE.fullmatch(text.strip())
    if not match:
        raise InputError(f"not an input shape: {text!r}; write it like input:1x3x224x224")
    shape = () if match["shape"] == "scalar" else tuple(int(side) for side in match["shape"].split("x"))
    if any(side > _LARGEST_DIMENSION for side in shape):
        raise InputError(f"not an input shape: {text!r}; a side is at most {_LARGEST_DIMENSION}")
    return match["name"], shape


def format_bytes(count: float) -> str:
    """A count of bytes for people: ``13.4 MB`` (decimal prefixes)."""
    for unit, digits in (("B", 0), ("kB", 1), ("MB", 1)):
        if abs(round(count, digits)) < 1000:
            return f"{count:.{digits}f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def format_ms(milliseconds: float) -> str:
    """A latency for people, in µs, ms or s, three digits."""
    unit, per_ms = _unit_of(milliseconds)
    return f"{milliseconds * per_ms:.3g} {unit}"


def format_ms_interval(milliseconds: float, low: float | None, high: float | None) -> str:
    """A latency's interval in the unit of the latency, four digits; empty where it has none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    _, per_ms = _unit_of(milliseconds)
    return f"[{low * per_ms:.4g}, {high * per_ms:.4g}]"


def _unit_of(milliseconds: float) -> tuple[str, float]:
    """The unit in which a latency has at most three digits, and how many of it a millisecond is."""
    for unit, per_ms in (("µs", 1e3), ("ms", 1.0)):
        if abs(milliseconds * per_ms) < 999.5:  # 999.5 has four digits once rounded to three
            return unit, per_ms
    return "s", 1e-3
