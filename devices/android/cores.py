"""Which cores of a phone a model runs on: its clusters differ in speed by a factor of two and more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from netdyno.base.errors import InputError

FASTEST, SLOWEST = "fastest", "slowest"
_MOST_CORES = 1024
_PART = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)

Cluster = tuple[int, Sequence[int]]
"""Highest clock in MHz, and the cores that have it."""


def choose_cores(choice: str, clusters: Sequence[Cluster]) -> list[int]:
    """The cores of a choice: ``fastest`` or ``slowest`` of the clusters, or numbers such as ``4-6,7``.

    Raises:
        InputError: it is neither, or the phone does not tell its clusters or has no such core.
    """
    if choice in (FASTEST, SLOWEST):
        if not clusters:
            raise InputError(f"--cores {choice}: this phone does not tell its cores' clocks; give numbers, as in 4-7")
        ordered = sorted(clusters)
        return sorted(ordered[-1 if choice == FASTEST else 0][1])
    found: set[int] = set()
    for part in choice.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"--cores {choice}: neither {FASTEST}, {SLOWEST} nor numbers as in 0-3,7")
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    known = {core for _, cores in clusters for core in cores} or set(range(_MOST_CORES))
    if outside := sorted(found - known):
        raise InputError(f"--cores {choice}: this phone has no core {outside[0]}")
    return sorted(found)


def pinned(cores: Sequence[int]) -> list[str]:
    """The command that starts another on these cores only; nothing where there are none."""
    return ["taskset", f"{sum(1 << core for core in cores):x}"] if cores else []
