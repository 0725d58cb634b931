"""A model file, in memory or where it lies, with what is needed to run it and to know it again."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

from netdyno.base.errors import InputError
from netdyno.base.files import open_regular, read_bytes

LARGEST_MODEL = 2**31 - 1
"""Bytes of a model file that is held in memory; protobuf and FlatBuffers address no more."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor's name, shape (batch first) and dtype: NumPy's name, or the runtime's where NumPy has none."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Feeding:
    """A user's choices for a model's inputs: shapes and values by input, dimensions by symbol, a TFLite signature.

    Values are texts: a number or another scalar, ``LOW..HIGH``, or the name of a ``.npy`` file.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    dimensions: tuple[tuple[str, int], ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    signature: str = ""


NO_CHOICES = Feeding()


@dataclass(frozen=True)
class ModelFile:
    """A model file on disk; ``beside`` are the files of its external data, ``moved`` the model for a runtime.

    ``moved`` is empty where a runtime can open the file itself; otherwise its locations are relative to the root
    folder, since runtimes do not follow links that leave the model's folder.
    """

    path: Path
    beside: tuple[Path, ...] = ()
    moved: bytes = field(default=b"", repr=False)

    def read(self) -> bytes:
        """The model as one piece.

        Raises:
            InputError: it cannot be read.
        """
        return read_bytes(self.path, LARGEST_MODEL)

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the file; with external data, of the digests of all files.

        Raises:
            InputError: one cannot be read.
        """
        digests = [_digest(path) for path in (self.path, *self.beside)]
        return hashlib.sha256("".join(digests).encode()).hexdigest() if self.beside else digests[0]

    @cached_property
    def size(self) -> int:
        """Bytes of all its files.

        Raises:
            InputError: one is gone.
        """
        return sum(require_regular(path) for path in (self.path, *self.beside))


class _Content:
    """The bytes of an artifact, which are read when they are asked for if it is a file."""

    @overload
    def __get__(self, instance: None, owner: type) -> _Content: ...
    @overload
    def __get__(self, instance: object, owner: type) -> bytes: ...
    def __get__(self, instance: object | None, owner: type) -> bytes | _Content:
        if instance is None:
            raise AttributeError  # a dataclass takes this for a field without a default
        source = instance.__dict__["data"]
        return source.read() if isinstance(source, ModelFile) else source

    def __set__(self, instance: object, value: bytes | ModelFile) -> None:
        instance.__dict__["data"] = value


@dataclass(frozen=True, repr=False)
class Artifact:
    """A model file: content, format (``onnx`` or ``tflite``) and precision (``fp32``, ``fp16``, ``int8``).

    ``data`` is given as bytes or as a file, and always read as bytes. ``inputs`` may be empty for a foreign model;
    the runtime then reads the specs off the model itself, and ``feeding`` completes them.
    """

    data: _Content = _Content()
    format: str  # type: ignore[misc]  # the descriptor is no default
    name: str = "model"
    inputs: tuple[TensorSpec, ...] = ()
    precision: str = "fp32"
    feeding: Feeding = NO_CHOICES

    def __repr__(self) -> str:
        return f"Artifact({self.name}.{self.format}, {self.precision}, {self.inputs})"

    @property
    def file(self) -> ModelFile | None:
        """The file that it is; None if it is in memory."""
        source = self.__dict__["data"]
        return source if isinstance(source, ModelFile) else None

    def with_feeding(self, feeding: Feeding) -> Artifact:
        """The same model with other choices; its content is not read."""
        return Artifact(self.__dict__["data"], self.format, self.name, self.inputs, self.precision, feeding)

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of its content."""
        return hashlib.sha256(self.data).hexdigest() if self.file is None else self.file.sha256

    def __len__(self) -> int:
        return len(self.data) if self.file is None else self.file.size


def read_artifact(path: Path, formats: tuple[str, ...] = ("onnx", "tflite")) -> Artifact:
    """Take a model file, its format from the suffix; its content is read when it is needed.

    Raises:
        InputError: no such file, not a regular file, empty, or of another format.
    """
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in formats:
        raise InputError(f"{path}: not a model file; expected one of {', '.join('.' + f for f in formats)}")
    if not require_regular(path):
        raise InputError(f"{path}: the file is empty", artifact=str(path))
    return Artifact(ModelFile(path.absolute()), suffix, path.stem)


def require_regular(path: Path) -> int:
    """Make sure that a path leads to a regular file that can be read; returns its size in bytes.

    Raises:
        InputError: it does not.
    """
    with open_regular(path, sys.maxsize) as file:
        return os.fstat(file.fileno()).st_size


def _digest(path: Path) -> str:
    try:
        with open_regular(path, sys.maxsize) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", artifact=str(path)) from error
