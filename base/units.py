"""Text of the command line to numbers with units, and back."""

from __future__ import annotations

import math
import re

from netdyno.base.errors import InputError

_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|m|h|)\s*")
_SHAPE = re.compile(r"(?:(?P<name>[^:]+):)?(?P<shape>\d+(?:x\d+)*)")
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


def parse_shape(text: str) -> tuple[str | None, tuple[int, ...]]:
    """Name (or None) and shape of ``NAME:1x3x224x224``.

    Raises:
        InputError: not of that form, or a dimension of zero.
    """
    match = _SHAPE.fullmatch(text.strip())
    shape = tuple(int(side) for side in match["shape"].split("x")) if match else ()
    if not match or not all(0 < side <= _LARGEST_DIMENSION for side in shape):
        raise InputError(f"not an input shape: {text!r}; write it like input:1x3x224x224")
    return match["name"], shape


def format_bytes(count: float) -> str:
    """A count of bytes for people: ``13.4 MB`` (decimal prefixes)."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def format_ms(milliseconds: float) -> str:
    """A latency for people, in µs, ms or s, three digits."""
    if milliseconds < 1:
        return f"{milliseconds * 1e3:.3g} µs"
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1e3:.3g} s"
