"""An ensemble as one folder: each member an ordinary bundle in a subfolder, how they vote, and what runs them.

``ensemble.json`` lists the members' folders with the digest of each card, and a card holds the digests of all files
beside it, so that one digest of ``ensemble.json`` stands for everything.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from netdyno.base.errors import InputError, UnknownName
from netdyno.base.files import folder_atomic, read_bytes, require_replaceable
from netdyno.exporters.bundle import Bundle, load_bundle, require_place
from netdyno.exporters.card import CARD, FileEntry, entry_of, no_constant, read_checked, read_regular
from netdyno.nas.ensembles.ensemble import SIZES, TOGETHER, Together
from netdyno.nas.ensembles.vote import VOTINGS, Voting

if TYPE_CHECKING:
    from netdyno.nas.data.dataset import Dataset
    from netdyno.nas.supernets.subnet import Subnet

DESCRIPTOR = "ensemble.json"
RUNNER = "run_ensemble.py"
SCHEMA = 1
_LARGEST = 2**20
_FOLDERS = tuple(f"member-{number}" for number in range(1, SIZES.most + 1))
_KEYS = {"schema", "voting", "latency", "members", "runner", "facts"}


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

    ``latency`` says how the members' latencies count, ``sum`` or ``max``; ``facts`` are JSON values: accuracies,
    latencies. See :func:`netdyno.nas.ship.ship` for ``data``.

    Raises:
        UnknownName: no such format, voting or way to run.
        InputError: not two to eight subnets, facts that are not JSON, or a folder that holds something else.
    """
    from netdyno.nas.ship import ship

    if not SIZES.least <= len(subnets) <= SIZES.most:
        raise InputError(f"an ensemble has {SIZES.least} to {SIZES.most} members, not {len(subnets)}")
    if voting not in VOTINGS:
        raise UnknownName("voting", voting, VOTINGS)
    if latency not in TOGETHER:
        raise UnknownName("way to run members together", latency, TOGETHER)
    require_replaceable(out, (DESCRIPTOR, RUNNER, *_FOLDERS))
    for name in _FOLDERS:
        require_place(out / name)
    document = {"schema": SCHEMA, "voting": voting, "latency": latency, "facts": dict(facts or {})}
    with folder_atomic(out) as folder:
        members = []
        for subnet, name in zip(subnets, _FOLDERS, strict=False):
            ship(subnet, folder / name, formats, data)
            card = entry_of(CARD, read_bytes(folder / name / CARD))
            members.append({"folder": name, "card": asdict(card)})
        shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
        runner = entry_of(RUNNER, read_bytes(folder / RUNNER))
        (folder / DESCRIPTOR).write_text(_to_json(document | {"members": members, "runner": asdict(runner)}), "utf-8")
        ensemble = load_ensemble(folder)  # what cannot be read back never takes an older ensemble's place
    moved = tuple(replace(member, path=out / member.path.name) for member in ensemble.members)
    return replace(ensemble, path=out, members=moved)


def load_ensemble(path: Path) -> EnsembleBundle:
    """Read an ensemble, and check every member's files, and that they answer in the same classes.

    Raises:
        InputError: not an ensemble, or one that is malformed.
        VerificationError: a file is not the one that was shipped.
    """
    descriptor = path / DESCRIPTOR
    fields = _read(descriptor)
    _require(
        fields.get("schema") == SCHEMA and fields.keys() == _KEYS,
        descriptor,
        f"not a descriptor of schema {SCHEMA}",
    )
    voting, latency, listed, facts = (fields[key] for key in ("voting", "latency", "members", "facts"))
    _require(voting in VOTINGS and latency in TOGETHER, descriptor, "an unknown voting or latency")
    _require(isinstance(facts, dict), descriptor, "facts are no object")
    _require(
        isinstance(listed, list) and SIZES.least <= len(listed) <= SIZES.most,
        descriptor,
        f"not {SIZES.least} to {SIZES.most} members",
    )
    read_checked(path, _entry(fields["runner"], RUNNER, descriptor))
    members = []
    for member, name in zip(listed, _FOLDERS, strict=False):
        _require(
            isinstance(member, dict) and member.keys() == {"folder", "card"} and member["folder"] == name,
            descriptor,
            f"{name} is missing",
        )
        _require(not (path / name).is_symlink(), path / name, "a symbolic link")
        read_checked(path / name, _entry(member["card"], CARD, descriptor))
        members.append(load_bundle(path / name))
    answers = {(*(spec.shape for spec in member.card.outputs), _labels(member)) for member in members}
    _require(len(answers) == 1, descriptor, "members answer in different classes")
    return EnsembleBundle(path, cast(Voting, voting), cast(Together, latency), tuple(members), facts)


def _read(descriptor: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_regular(descriptor, _LARGEST).decode(), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{descriptor}: not a JSON document in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{descriptor}: not an object")
    return document


def _entry(value: Any, name: str, descriptor: Path) -> FileEntry:
    """A file that the descriptor lists; a wrong size or digest shows when it is compared with the file's."""
    fits = isinstance(value, dict) and value.keys() == {"name", "bytes", "sha256"} and value["name"] == name
    _require(fits, descriptor, f"the entry of {name} is malformed")
    return FileEntry(name, value["bytes"], value["sha256"])


def _labels(member: Bundle) -> tuple[str, ...]:
    labels = member.card.extra.get("labels", [])
    if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise InputError(f"{member.path / CARD}: labels are no list of names")
    return tuple(labels)


def _require(condition: bool, path: Path, problem: str) -> None:
    if not condition:
        raise InputError(f"{path}: not an ensemble: {problem}")


def _to_json(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(document, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"ensemble: facts are not JSON: {error}") from error
