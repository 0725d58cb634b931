"""A model file in memory, with what is needed to run it and to know it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from netdyno.base.errors import InputError
from netdyno.base.files import read_bytes

LARGEST_MODEL = 2**31 - 1
"""Bytes of a model file that is held in memory; protobuf and FlatBuffers address no more."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor's name, shape (batch first) and NumPy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Artifact:
    """A model file: bytes, format (``onnx`` or ``tflite``) and precision (``fp32``, ``fp16``, ``int8``).

    ``inputs`` may be empty for a foreign model; the runtime then reads the specs off the model itself.
    """

    data: bytes = field(repr=False)
    format: str
    name: str = "model"
    inputs: tuple[TensorSpec, ...] = ()
    precision: str = "fp32"

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the file's bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def __len__(self) -> int:
        return len(self.data)


def read_artifact(path: Path, formats: tuple[str, ...] = ("onnx", "tflite")) -> Artifact:
    """Read a model file, its format taken from the suffix.

    Raises:
        InputError: no such file, not a file, empty, or of another format.
    """
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in formats:
        raise InputError(f"{path}: not a model file; expected one of {', '.join('.' + f for f in formats)}")
    data = read_bytes(path, LARGEST_MODEL)
    if not data:
        raise InputError(f"{path}: the file is empty", artifact=str(path))
    return Artifact(data=data, format=suffix, name=path.stem)
