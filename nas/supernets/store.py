"""Supernets by the name of their space, and the folders of supernets and of trained networks on disk.

A folder holds ``supernet.json`` (space, data, training), or ``network.json`` (genes as well), and ``weights.pt`` (a
state dict of tensors, nothing else).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from netdyno.base.documents import is_as_sealed, read_document, require_schema, seal
from netdyno.base.errors import InputError
from netdyno.base.files import is_there
from netdyno.base.folders import folder_atomic, require_replaceable
from netdyno.base.registry import Registry, require
from netdyno.nas.space import Space, make_space
from netdyno.nas.state import read_state

if TYPE_CHECKING:
    from torch.nn import Module

    from netdyno.nas.supernets.sgd import Sgd
    from netdyno.nas.supernets.subnet import Subnet
    from netdyno.nas.supernets.supernet import Supernet
    from netdyno.nas.supernets.train import Training

M = TypeVar("M", bound="Module")
SUPERNETS = Registry("supernet", "netdyno.supernets")
DESCRIPTOR = "supernet.json"
NETWORK = "network.json"
WEIGHTS = "weights.pt"
SCHEMA = 1
OWN_FILES = (DESCRIPTOR, WEIGHTS)


def make_supernet(space: Space, seed: int = 0) -> Supernet:
    """An untrained supernet of a space, initialised from ``seed``.

    Raises:
        UnknownName: there is no supernet for this space.
        MissingExtra: torch is not installed.
    """
    torch = require("torch", extra="train", purpose="a supernet")
    build = SUPERNETS.load(space.name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        supernet: Supernet = build(space)
    return supernet


def save_supernet(supernet: Supernet, path: Path, *, data: str, training: Training) -> None:
    """Write a supernet's folder, whole or not at all.

    Raises:
        InputError: the folder cannot be written, or holds somebody's other files.
    """
    require_replaceable(path, OWN_FILES)
    descriptor = _describe(supernet.space) | {"data": data, "training": asdict(training)}
    _write(path, DESCRIPTOR, descriptor, supernet)


def load_supernet(path: Path) -> tuple[Supernet, dict[str, Any]]:
    """A supernet from its folder, and the folder's descriptor.

    Raises:
        InputError: no supernet there, or its files do not belong together.
        MissingExtra: torch is not installed.
    """
    if not is_there(path / DESCRIPTOR):
        raise InputError(f"{path}: no supernet here; a supernet is a folder with {DESCRIPTOR} and {WEIGHTS}")
    return _read(path, DESCRIPTOR, "supernet", lambda known: make_supernet(make_space(**known["space"])))


def save_network(network: Subnet, path: Path, *, data: str, training: Training | Sgd, **facts: Any) -> None:
    """Write a trained network's folder, whole or not at all, with further facts; raises as :func:`save_supernet`."""
    require_replaceable(path, (NETWORK, WEIGHTS))
    descriptor = _describe(network.space) | {"genes": network.genes.tolist(), "data": data}
    _write(path, NETWORK, descriptor | {"training": asdict(training), **facts}, network)


def load_network(path: Path) -> tuple[Subnet, dict[str, Any]]:
    """A trained network from its folder, and the folder's descriptor; raises as :func:`load_supernet` does."""
    if not is_there(path / NETWORK):
        raise InputError(f"{path}: no network here; a network is a folder with {NETWORK} and {WEIGHTS}")

    def make(known: dict[str, Any]) -> Subnet:
        from netdyno.nas.supernets.subnet import Subnet

        space = make_space(**known["space"])
        return Subnet(space, space.check(known["genes"])[0])

    return _read(path, NETWORK, "network", make)


def _describe(space: Space) -> dict[str, Any]:
    return {"schema": SCHEMA, "space": {"name": space.name, **space.parameters}}


def _write(path: Path, descriptor: str, content: dict[str, Any], module: Module) -> None:
    import torch

    weights = io.BytesIO()
    torch.save(module.state_dict(), weights)
    with folder_atomic(path) as folder:
        (folder / WEIGHTS).write_bytes(weights.getvalue())
        (folder / descriptor).write_text(json.dumps(seal(content), indent=2) + "\n")


def _read(path: Path, descriptor: str, kind: str, make: Callable[[dict[str, Any]], M]) -> tuple[M, dict[str, Any]]:
    torch = require("torch", extra="train", purpose=f"a {kind}")
    known = read_document(path / descriptor)
    require_schema(known, path / descriptor, SCHEMA)
    if not is_as_sealed(known):
        raise InputError(f"{path / descriptor}: changed since it was written; restore it, or train the {kind} again")
    try:
        with torch.device("meta"):  # shapes alone: what a descriptor asks for may be of any size
            needed = make(known).state_dict()
        sizes = {name: tuple(value.shape) for name, value in needed.items()}
        most = sum(value.numel() * value.element_size() for value in needed.values())
        state = read_state(path / WEIGHTS, f"a {kind}", most)
        if sizes != {name: tuple(value.shape) for name, value in state.items()}:
            raise InputError(f"{path / WEIGHTS}: not the weights of the {kind} in {descriptor}")
        module = make(known)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{path / descriptor}: not the descriptor of a {kind}: {error}") from error
    module.load_state_dict(state)
    return module.eval(), known
