"""An ONNX model without its weights: a file of gigabytes is understood in the memory of its nodes.

Fields that hold a tensor's values are left out unless they are short, as those of indices and shapes are.
Source: https://protobuf.dev/programming-guides/encoding/ and onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError

SHORT = 4096
"""Bytes of values that are kept."""
MOST_NESTED = 100
_TENSOR = "tensor"
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
}
"""Messages by the numbers of their fields that may hold tensors."""
_VALUES = (4, 5, 6, 7, 9, 10, 11)
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def outline(artifact: Artifact) -> Any:
    """A ModelProto without the values of its weights.

    Raises:
        ModelError: it is no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        data = _without_weights(artifact.data) if artifact.file is None else _of_file(artifact.file.path)
        return onnx.load_model_from_string(data)
    except (DecodeError, ValueError, IndexError) as error:
        raise ModelError(f"{artifact.name}: not an ONNX model", artifact=artifact.name) from error


def _of_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _without_weights(data)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}", artifact=path.stem) from error


def _without_weights(data: bytes | mmap.mmap) -> bytes:
    return b"".join(_shortened(data, 0, len(data), "model", 0))


def _shortened(data: bytes | mmap.mmap, start: int, end: int, kind: str, depth: int) -> Iterator[bytes]:
    """A message of a kind between two positions, in parts."""
    if depth > MOST_NESTED:
        raise ValueError("nested too deeply")
    inner = _FIELDS.get(kind, {})
    at = start
    while at < end:
        key, after = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if wire != _LENGTH:
            after = _skipped(data, after, end, wire)
            yield data[at:after]
            at = after
            continue
        length, content = _varint(data, after, end)
        at, begun = content + length, at
        if at > end:
            raise ValueError("a field ends beyond its message")
        if number in inner:
            parts = list(_shortened(data, content, at, inner[number], depth + 1))
            yield _encoded(key) + _encoded(sum(map(len, parts)))
            yield from parts
        elif kind != _TENSOR or number not in _VALUES or length <= SHORT:
            yield data[begun:at]


def _skipped(data: bytes | mmap.mmap, at: int, end: int, wire: int) -> int:
    if wire == _VARINT:
        return _varint(data, at, end)[1]
    after = at + {_FIXED64: 8, _FIXED32: 4}.get(wire, end + 1)
    if after > end:
        raise ValueError("not a field")
    return after


def _varint(data: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends."""
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
