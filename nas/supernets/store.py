"""Supernets by the name of their space, and their folders on disk.

A folder holds ``supernet.json`` (space, data, training) and ``weights.pt`` (a state dict of tensors, nothing else).
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdyno.base.errors import InputError
from netdyno.base.files import folder_atomic, read_text, require_replaceable
from netdyno.base.registry import Registry, require
from netdyno.nas.space import Space, make_space
from netdyno.nas.state import read_state

if TYPE_CHECKING:
    from netdyno.nas.supernets.supernet import Supernet
    from netdyno.nas.supernets.train import Training

SUPERNETS = Registry("supernet", "netdyno.supernets")
DESCRIPTOR = "supernet.json"
WEIGHTS = "weights.pt"
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
    import torch

    require_replaceable(path, OWN_FILES)
    weights = io.BytesIO()
    torch.save(supernet.state_dict(), weights)

    space = supernet.space
    descriptor = {"space": {"name": space.name, **space.parameters}, "data": data, "training": asdict(training)}
    with folder_atomic(path) as folder:
        (folder / WEIGHTS).write_bytes(weights.getvalue())
        (folder / DESCRIPTOR).write_text(json.dumps(descriptor, indent=2) + "\n")


def load_supernet(path: Path) -> tuple[Supernet, dict[str, Any]]:
    """A supernet from its folder, and the folder's descriptor.

    Raises:
        InputError: no supernet there, or its files do not belong together.
        MissingExtra: torch is not installed.
    """
    if not (path / DESCRIPTOR).is_file():
        raise InputError(f"{path}: no supernet here; a supernet is a folder with {DESCRIPTOR} and {WEIGHTS}")
    state = read_state(path / WEIGHTS, purpose="a supernet")
    try:
        descriptor = json.loads(read_text(path / DESCRIPTOR))
        supernet = make_supernet(make_space(**descriptor["space"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path / DESCRIPTOR}: not the descriptor of a supernet: {error}") from error
    try:
        supernet.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path / WEIGHTS}: not the weights of the supernet in {DESCRIPTOR}") from error
    return supernet.eval(), descriptor
