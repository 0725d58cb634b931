"""The whole numbers that commands and functions take, each range in one place."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from netdyno.base.errors import InputError


@dataclass(frozen=True)
class Range:
    """Whole numbers from ``low`` to ``high``, both included."""

    name: str
    low: int
    high: int

    def check(self, value: object) -> int:
        """The number, if it is one of them.

        Raises:
            InputError: it is none of them.
        """
        if isinstance(value, Integral) and not isinstance(value, bool):
            number = int(value)
            if self.low <= number <= self.high:
                return number
            value = number if abs(number) < 10**40 else "one of many digits"
        raise InputError(f"{self.name} must be a whole number from {self.low} to {self.high}, not {value}")


SEED = Range("a seed", 0, 2**32 - 1)
BATCH = Range("a batch", 1, 65_536)
TRAINING_BATCH = Range("a batch of a training", 2, 65_536)
STEPS = Range("steps", 1, 10**8)
EVALUATIONS = Range("evaluations", 1, 10**9)
POOL = Range("a pool", 2, 10_000)
"""Subnets whose answers to a whole split are held in memory."""
NETWORKS = Range("networks of a cascade", 2, 4)
