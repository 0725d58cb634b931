"""Several networks as one folder: each an ordinary bundle, how they work together, and a program that runs them.

The descriptor lists the members' folders with the digest of each card, and a card holds the digests of all files
beside it, so that one digest of the descriptor stands for everything.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdyno.base.documents import read_document, require_schema
from netdyno.base.errors import InputError
from netdyno.base.files import read_bytes
from netdyno.base.folders import folder_atomic, require_replaceable
from netdyno.exporters.bundle import Bundle, load_bundle, require_place
from netdyno.exporters.card import CARD, FileEntry, entry_of, read_checked

if TYPE_CHECKING:
    from netdyno.nas.data.dataset import Dataset
    from netdyno.nas.supernets.subnet import Subnet

SCHEMA = 1
PROGRAM = Path(__file__).with_name("run_networks.py")
_LARGEST = 2**20
_OWN = {"schema", "members", "runner", "facts"}


@dataclass(frozen=True)
class Kind:
    """A way for networks to work together: its name, how many there are, what the descriptor says.

    ``problem`` tells what is wrong with the descriptor's own ``keys`` and a number of members; empty if nothing is.
    """

    name: str
    least: int
    most: int
    keys: frozenset[str]
    problem: Callable[[Mapping[str, Any], int], str]

    @property
    def descriptor(self) -> str:
        """Name of the file that says how they work together."""
        return f"{self.name}.json"

    @property
    def runner(self) -> str:
        """Name of the program that runs them."""
        return f"run_{self.name}.py"

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the members' folders, as many as there may be."""
        return tuple(f"member-{number}" for number in range(1, self.most + 1))


@dataclass(frozen=True)
class Composite:
    """A folder that was read and checked: ``how`` its ``members`` work together, and what the shipper knows of it."""

    path: Path
    how: Mapping[str, Any]
    members: tuple[Bundle, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def ship_composite(
    kind: Kind,
    subnets: Sequence[Subnet],
    out: Path,
    formats: Sequence[str],
    how: Mapping[str, Any],
    data: Dataset | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Composite:
    """Write networks as one folder, whole or not at all; one of this kind that is there already is replaced.

    ``how`` are the descriptor's own values, ``facts`` JSON values: accuracies, latencies. See
    :func:`netdyno.nas.ship.ship` for ``data``.

    Raises:
        UnknownName: no such format.
        InputError: too few networks or too many, facts that are not JSON, or a folder that holds something else.
    """
    from netdyno.nas.ship import ship

    if not kind.least <= len(subnets) <= kind.most:
        raise InputError(f"the {kind.name} has {kind.least} to {kind.most} members, not {len(subnets)}")
    if fault := kind.problem(how, len(subnets)):
        raise InputError(f"the {kind.name} is wrong: {fault}")
    require_replaceable(out, (kind.descriptor, kind.runner, *kind.folders))
    for name in kind.folders:
        require_place(out / name)
    document = {"schema": SCHEMA, **how, "facts": dict(facts or {})}
    with folder_atomic(out) as folder:
        members = []
        for subnet, name in zip(subnets, kind.folders, strict=False):
            ship(subnet, folder / name, formats, data)
            members.append({"folder": name, "card": asdict(entry_of(CARD, read_bytes(folder / name / CARD)))})
        shutil.copyfile(PROGRAM, folder / kind.runner)
        runner = entry_of(kind.runner, read_bytes(folder / kind.runner))
        document |= {"members": members, "runner": asdict(runner)}
        (folder / kind.descriptor).write_text(_to_json(kind, document), "utf-8")
        composite = load_composite(kind, folder)  # what cannot be read back never takes an older one's place
    moved = tuple(replace(member, path=out / member.path.name) for member in composite.members)
    return replace(composite, path=out, members=moved)


def load_composite(kind: Kind, path: Path) -> Composite:
    """Read such a folder, and check every member's files, and that they answer in the same classes.

    Raises:
        InputError: not of this kind, or malformed.
        VerificationError: a file is not the one that was shipped.
    """
    descriptor = path / kind.descriptor
    fields = read_document(descriptor, _LARGEST, follow_links=False, strict=True)
    require_schema(fields, descriptor, SCHEMA)
    fits = fields.get("schema") == SCHEMA and fields.keys() == kind.keys | _OWN
    _require(fits, descriptor, f"not a descriptor of schema {SCHEMA}", kind)
    listed, facts = fields["members"], fields["facts"]
    _require(isinstance(facts, dict), descriptor, "facts are no object", kind)
    count = len(listed) if isinstance(listed, list) else 0
    _require(kind.least <= count <= kind.most, descriptor, f"not {kind.least} to {kind.most} members", kind)
    how = {key: fields[key] for key in kind.keys}
    fault = kind.problem(how, count)
    _require(not fault, descriptor, fault, kind)
    read_checked(path, _entry(fields["runner"], kind.runner, descriptor, kind))
    members = []
    for member, name in zip(listed, kind.folders, strict=False):
        fits = isinstance(member, dict) and member.keys() == {"folder", "card"} and member["folder"] == name
        _require(fits, descriptor, f"{name} is missing", kind)
        _require(not (path / name).is_symlink(), path / name, "a symbolic link", kind)
        read_checked(path / name, _entry(member["card"], CARD, descriptor, kind))
        members.append(load_bundle(path / name))
    answers = {(*(spec.shape for spec in member.card.outputs), _labels(member)) for member in members}
    _require(len(answers) == 1, descriptor, "members answer in different classes", kind)
    return Composite(path, how, tuple(members), facts)


def _entry(value: Any, name: str, descriptor: Path, kind: Kind) -> FileEntry:
    """A file that the descriptor lists; a wrong size or digest shows when it is compared with the file's."""
    fits = isinstance(value, dict) and value.keys() == {"name", "bytes", "sha256"} and value["name"] == name
    _require(fits, descriptor, f"the entry of {name} is malformed", kind)
    return FileEntry(name, value["bytes"], value["sha256"])


def _labels(member: Bundle) -> tuple[str, ...]:
    labels = member.card.extra.get("labels", [])
    if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise InputError(f"{member.path / CARD}: labels are no list of names")
    return tuple(labels)


def _require(condition: bool, path: Path, problem: str, kind: Kind) -> None:
    if not condition:
        raise InputError(f"{path}: not that of an intact {kind.name}: {problem}")


def _to_json(kind: Kind, document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(document, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the {kind.name}: facts are not JSON: {error}") from error
