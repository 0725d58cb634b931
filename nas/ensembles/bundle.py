"""An ensemble as one folder: each member an ordinary bundle, how they vote, and what runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from netdyno.base.errors import UnknownName
from netdyno.exporters.bundle import Bundle
from netdyno.nas.composite import Composite, Kind, load_composite, ship_composite
from netdyno.nas.ensembles.ensemble import SIZES, TOGETHER, Together
from netdyno.nas.ensembles.vote import VOTINGS, Voting

if TYPE_CHECKING:
    from netdyno.nas.data.dataset import Dataset
    from netdyno.nas.supernets.subnet import Subnet


def _problem(how: Mapping[str, Any], _: int) -> str:
    return "" if how["voting"] in VOTINGS and how["latency"] in TOGETHER else "an unknown voting or latency"


KIND = Kind("ensemble", SIZES.least, SIZES.most, frozenset({"voting", "latency"}), _problem)
DESCRIPTOR, RUNNER = KIND.descriptor, KIND.runner


@dataclass(frozen=True)
class EnsembleBundle:
    """An ensemble that was read and checked; ``facts`` is what whoever shipped it knows of it."""

    path: Path
    voting: Voting
    latency: Together
    members: tuple[Bundle, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def ship_ensemble(
    subnets: Sequence[Subnet],
    out: Path,
    formats: Sequence[str],
    voting: Voting,
    latency: Together,
    data: Dataset | None = None,
    facts: Mapping[str, Any] | None = None,
) -> EnsembleBundle:
    """Write subnets as one ensemble, whole or not at all; an ensemble that is there already is replaced.

    ``latency`` says how the members' latencies count, ``sum`` or ``max``; see
    :func:`netdyno.nas.composite.ship_composite` for the rest, and for what it raises.

    Raises:
        UnknownName: no such format, voting or way to run.
    """
    if voting not in VOTINGS:
        raise UnknownName("voting", voting, VOTINGS)
    if latency not in TOGETHER:
        raise UnknownName("way to run members together", latency, TOGETHER)
    how = {"voting": voting, "latency": latency}
    return _ensemble(ship_composite(KIND, subnets, out, formats, how, data, facts))


def load_ensemble(path: Path) -> EnsembleBundle:
    """Read an ensemble, and check it, as :func:`netdyno.nas.composite.load_composite` does."""
    return _ensemble(load_composite(KIND, path))


def _ensemble(read: Composite) -> EnsembleBundle:
    voting, latency = cast(Voting, read.how["voting"]), cast(Together, read.how["latency"])
    return EnsembleBundle(read.path, voting, latency, read.members, read.facts)
