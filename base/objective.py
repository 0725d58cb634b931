"""What a search optimises: a named, vectorised value and its direction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Objective:
    """A function of a population, in the form that searches minimise.

    ``evaluate(X)`` takes ``X: (n, genes) int64`` and returns ``(n,) float64``, smaller is better.
    A maximised percentage ``p`` is minimised as ``100 - p`` and named after what that is.
    """

    name: str
    evaluate: Callable[[Any], Any]


class Optimisable(ABC):
    """Anything callable on a population that a search can take as an objective.

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
