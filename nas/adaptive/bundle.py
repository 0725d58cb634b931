"""A cascade as one folder: its networks as ordinary bundles, the thresholds between them, what runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdyno.exporters.bundle import Bundle
from netdyno.nas.adaptive.problem import MOST_NETWORKS
from netdyno.nas.composite import Composite, Kind, load_composite, ship_composite

if TYPE_CHECKING:
    from netdyno.nas.data.dataset import Dataset
    from netdyno.nas.supernets.subnet import Subnet


def _problem(how: Mapping[str, Any], members: int) -> str:
    thresholds = how["thresholds"]
    if not isinstance(thresholds, list) or len(thresholds) != members - 1:
        return "not a threshold for each network but the last"
    numbers = all(isinstance(each, float | int) and not isinstance(each, bool) for each in thresholds)
    return "" if numbers and all(0 <= each <= 1 for each in thresholds) else "a threshold is not from 0 to 1"


KIND = Kind("cascade", 2, MOST_NETWORKS, frozenset({"thresholds"}), _problem)
DESCRIPTOR, RUNNER = KIND.descriptor, KIND.runner


@dataclass(frozen=True)
class CascadeBundle:
    """A cascade that was read and checked; ``facts`` is what whoever shipped it knows of it."""

    path: Path
    thresholds: tuple[float, ...]
    members: tuple[Bundle, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def ship_cascade(
    networks: Sequence[Subnet],
    thresholds: Sequence[float],
    out: Path,
    formats: Sequence[str],
    data: Dataset | None = None,
    facts: Mapping[str, Any] | None = None,
) -> CascadeBundle:
    """Write trained networks, the first to be asked first, with the ``thresholds`` between them as one folder.

    See :func:`netdyno.nas.composite.ship_composite` for the rest, and for what it raises.
    """
    how = {"thresholds": [float(each) for each in thresholds]}
    return _cascade(ship_composite(KIND, networks, out, formats, how, data, facts))


def load_cascade(path: Path) -> CascadeBundle:
    """Read a cascade, and check it, as :func:`netdyno.nas.composite.load_composite` does."""
    return _cascade(load_composite(KIND, path))


def _cascade(read: Composite) -> CascadeBundle:
    return CascadeBundle(read.path, tuple(map(float, read.how["thresholds"])), read.members, read.facts)
