"""What a search optimises and keeps to: named, vectorised values, their directions and limits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Objective:
    """A function of a population, in the form that searches minimise.

    ``evaluate(X)`` takes ``X: (n, genes) int64`` and returns ``(n,) float64``, smaller is better.
    A maximised percentage ``p`` is minimised as ``100 - p`` and named after what that is.
    """

    name: str
    evaluate: Callable[[Any], Any]


@dataclass(frozen=True)
class Constraint:
    """A limit on a function of a population: at most ``limit``, or at least that where ``upper`` is false."""

    name: str
    evaluate: Callable[[Any], Any]
    limit: float
    upper: bool = True

    def violation(self, X: Any) -> Any:
        """How far each architecture is beyond the limit, ``(n,) float64`` in the value's unit; 0 where it is kept."""
        values = self.evaluate(X)
        return (values - self.limit if self.upper else self.limit - values).clip(min=0.0)

    def cautious(self, margin: float = 1.0) -> Constraint:
        """The same limit on the far end of the value's 95 % interval, where the value has one.

        ``margin`` is how far towards that end, 0 the value itself.
        """
        interval = getattr(self.evaluate, "interval", None)
        if interval is None:
            return self

        def far(X: Any) -> Any:
            value = self.evaluate(X)
            return value + margin * (interval(X)[:, int(self.upper)] - value)

        return replace(self, evaluate=far)

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.upper else '>='} {self.limit:g}"


class Optimisable(ABC):
    """Anything callable on a population that a search can take as an objective or keep within a limit.

    ``name`` carries the unit. ``ceiling`` is the largest value there can be (100 for percentages): maximising
    ``v`` means minimising ``ceiling - v``, which ``complement`` names.
    """

    name: str
    ceiling: float = 0.0
    complement: str | None = None

    @abstractmethod
    def __call__(self, X: Any) -> Any:
        """Value per architecture: ``X (n, genes) int64`` to ``(n,) float64``."""

    def minimize(self) -> Objective:
        """This value, the smaller the better."""
        return Objective(self.name, self)

    def maximize(self) -> Objective:
        """This value, the larger the better."""
        return Objective(self.complement or f"negative_{self.name}", lambda X: self.ceiling - self(X))

    def at_most(self, limit: float) -> Constraint:
        """Architectures whose value is this or less."""
        return Constraint(self.name, self, limit)

    def at_least(self, limit: float) -> Constraint:
        """Architectures whose value is this or more."""
        return Constraint(self.name, self, limit, upper=False)
