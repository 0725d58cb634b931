"""State dicts from files that anybody may have written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netdyno.base.errors import InputError
from netdyno.base.registry import require

if TYPE_CHECKING:
    from torch import Tensor


def read_state(path: Path, purpose: str) -> dict[str, Tensor]:
    """The tensors of a state dict by name; nothing else is unpickled, so that no code in the file can run.

    Raises:
        InputError: no such file, or not a state dict.
        MissingExtra: torch is not installed, which ``purpose`` needs.
    """
    torch = require("torch", extra="train", purpose=purpose)
    try:
        with path.open("rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file makes torch's reader stumble in a dozen ways, by their own types
        raise InputError(f"{path}: not a state dict, or one that is damaged: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.dtype.is_floating_point | (value.dim() == 0)
        for name, value in state.items()
    ):
        raise InputError(f"{path}: not a state dict: it holds something else than tensors by name")
    return state
