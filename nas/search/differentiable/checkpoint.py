"""Where a training stands, in one file that is whole or not there.

Tensors are laid end to end, one a kind: a multi-path network has ten thousand of them, and as many entries of a file
take seconds to write.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from netdyno.base.errors import InputError
from netdyno.base.files import is_there, write_atomic
from netdyno.nas.state import load_tensors

Packed = dict[str, Tensor]


def pack(tensors: Iterable[Tensor]) -> Packed:
    """Tensors end to end, those of each type together."""
    by_type: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(str(tensor.dtype), []).append(tensor.detach().reshape(-1))
    return {name: torch.cat(parts) for name, parts in by_type.items()}


def unpack(packed: Packed, tensors: Iterable[Tensor]) -> None:
    """Put back into ``tensors`` what :func:`pack` took from such ones.

    Raises:
        ValueError: it was taken from others.
    """
    begin = dict.fromkeys(packed, 0)
    for tensor in tensors:
        name, first = str(tensor.dtype), begin.get(str(tensor.dtype), 0)
        part = packed.get(name, tensor.new_empty(0))[first : first + tensor.numel()]
        if len(part) != tensor.numel():
            raise ValueError("it holds less than was asked for")
        with torch.no_grad():
            tensor.copy_(part.view_as(tensor))
        begin[name] = first + tensor.numel()
    if any(begin[name] != len(part) for name, part in packed.items()):
        raise ValueError("it holds more than was asked for")


def pack_adam(optimiser: torch.optim.Optimizer) -> Packed:
    """Steps and moments of a kind of Adam; a step of −1 is a parameter's that had no gradient yet."""
    states = [optimiser.state.get(parameter, {}) for parameter in _parameters(optimiser)]
    steps = torch.tensor([float(state.get("step", -1.0)) for state in states])
    moments = (state[name] for name in ("exp_avg", "exp_avg_sq") for state in states if state)
    return {"steps": steps, **pack(moments)}


def unpack_adam(packed: Packed, optimiser: torch.optim.Optimizer) -> None:
    """Put back what :func:`pack_adam` took.

    Raises:
        ValueError: it was taken from another optimiser.
    """
    moments = dict(packed)
    steps = moments.pop("steps").tolist()
    known = [(p, step) for p, step in zip(_parameters(optimiser), steps, strict=True) if step >= 0]
    for parameter, step in known:
        zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        optimiser.state[parameter] = {"step": torch.tensor(step), **zeros}
    unpack(moments, [optimiser.state[p][name] for name in ("exp_avg", "exp_avg_sq") for p, _ in known])


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def save_checkpoint(path: Path, identity: str, content: dict[str, Packed]) -> None:
    """Write packed tensors by name; ``identity`` says whose they are.

    Raises:
        InputError: it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"identity": identity, "content": content}, buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path, identity: str) -> dict[str, Packed] | None:
    """What was written last, None where there is nothing; only tensors and text are unpickled.

    Raises:
        InputError: it is another training's, or damaged.
    """
    if not is_there(path):
        return None
    found = load_tensors(path)
    if not isinstance(found, dict) or not {"identity", "content"} <= found.keys():
        raise InputError(f"{path}: not the checkpoint of a search")
    own, content = found["identity"], found["content"]
    if own != identity:
        raise InputError(f"{path.parent}: holds another search; choose another folder, or forget it with --fresh")
    if not isinstance(content, dict):
        raise InputError(f"{path}: not the checkpoint of a search")
    return content
