"""State dicts from files that anybody may have written."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdyno.base.errors import InputError
from netdyno.base.files import LARGEST_FILE, read_bytes
from netdyno.base.registry import require

OVERHEAD_BYTES = 2**20
"""Bytes of a file of weights beside the weights: names, and padding of each."""

if TYPE_CHECKING:
    from torch import Tensor


def load_tensors(path: Path, most_bytes: int = LARGEST_FILE) -> Any:
    """A file that ``torch.save`` wrote, of tensors, text and numbers; nothing else is unpickled.

    Raises:
        InputError: as of :func:`netdyno.base.files.open_regular`, or not such a file, or one that is damaged.
    """
    import torch

    content = read_bytes(path, most_bytes)
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that are refused a moment later
            return torch.load(_as_stored(content), map_location="cpu", weights_only=True)
    except InputError as error:
        raise InputError(f"{path}: not weights of torch: {error}") from error
    except Exception as error:  # a damaged file makes torch's reader stumble in a dozen ways, by their own types
        raise InputError(f"{path}: not weights of torch, or damaged ones: {type(error).__name__}") from error


def _as_stored(content: bytes) -> io.BytesIO:
    """The archive of a ``torch.save`` with nothing in it compressed, each entry's checksum compared.

    Torch unpacks what is compressed without a limit, and compares no checksums. It never writes compressed entries;
    entries that together are larger than their file overlap. What another reader of archives might find elsewhere in
    the file is left behind.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return io.BytesIO(content)  # as torch wrote it before 1.6: one pickle, followed by the values
    plain = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as stored:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InputError("it is compressed, as torch never writes it")
        if sum(entry.file_size for entry in entries) > len(content):
            raise InputError("its entries are larger than itself")
        for entry in entries:
            stored.writestr(zipfile.ZipInfo(entry.filename), archive.read(entry))
    plain.seek(0)
    return plain


def read_state(path: Path, purpose: str, most_bytes: int = LARGEST_FILE) -> dict[str, Tensor]:
    """The tensors of a state dict by name, ``most_bytes`` of them; no code in the file can run.

    Raises:
        InputError: no such file, larger, not a state dict, or with values that are not finite.
        MissingExtra: torch is not installed, which ``purpose`` needs.
    """
    torch = require("torch", extra="train", purpose=purpose)
    state = load_tensors(path, most_bytes + OVERHEAD_BYTES)
    if not isinstance(state, dict) or not all(
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.dtype.is_floating_point | (value.dim() == 0)
        for name, value in state.items()
    ):
        raise InputError(f"{path}: not a state dict: it holds something else than tensors by name")
    # Views of one value can be of any size: what is looked at is as long as its own shape says.
    if sum(value.numel() * value.element_size() for value in state.values()) > most_bytes:
        raise InputError(f"{path}: not a state dict of at most {most_bytes} bytes")
    if not all(value.isfinite().all() for value in state.values()):
        raise InputError(f"{path}: holds weights that are not finite")
    return state
