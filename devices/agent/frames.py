"""Frames as :mod:`netdyno.devices.wire` describes them, without NumPy."""

import json
import os
import struct
from typing import Any, Dict, Optional, Tuple

MAGIC = b"NDY1"
MAX_HEADER_BYTES = 1 << 20
MAX_ARRAYS_BYTES = 1 << 33
_PREFIX = struct.Struct("<4sI")
_ITEM_BYTES = {"bool": 1, "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}
_ITEM_BYTES.update({sign + "int" + str(bits): bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)})

Message = Dict[str, Any]
Raw = Tuple[str, Tuple[int, ...], bytes]
"""An array as it travels: dtype, shape and bytes."""


class Gone(Exception):
    """The other end has closed the connection."""


def read_frame(descriptor: int) -> Tuple[Message, Dict[str, Raw]]:
    """The next frame's message and arrays.

    Raises:
        Gone: the other end has closed the connection.
        ValueError: what came is no frame.
        MemoryError: there is no memory for it; it has been read all the same, so that the next frame follows.
    """
    magic, length = _PREFIX.unpack(_read(descriptor, _PREFIX.size))
    if magic != MAGIC or length > MAX_HEADER_BYTES:
        raise ValueError("not a frame")
    header = json.loads(_read(descriptor, length).decode())
    arrays = {}
    missed = None
    for entry in header["arrays"]:
        size = _ITEM_BYTES[entry["dtype"]]
        for side in entry["shape"]:
            size *= side
        if not 0 <= size <= MAX_ARRAYS_BYTES:
            raise ValueError("an array is too large")
        try:
            arrays[entry["name"]] = (entry["dtype"], tuple(entry["shape"]), _read(descriptor, size))
        except MemoryError as error:
            arrays.clear()
            missed = error
    if missed is not None:
        raise missed
    return header["message"], arrays


def write_frame(descriptor: int, message: Message, arrays: Optional[Dict[str, Raw]] = None) -> None:
    """Write a frame."""
    arrays = arrays or {}
    entries = [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape, _) in arrays.items()]
    header = json.dumps({"message": message, "arrays": entries}).encode()
    for data in [_PREFIX.pack(MAGIC, len(header)) + header] + [data for _, _, data in arrays.values()]:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]


def _read(descriptor: int, length: int) -> bytes:
    parts = []
    try:
        while length:
            part = os.read(descriptor, min(length, 1 << 20))
            if not part:
                raise Gone
            length -= len(part)
            parts.append(part)
        return b"".join(parts)
    except MemoryError:
        del parts[:]
        while length:
            part = os.read(descriptor, min(length, 1 << 12))
            if not part:
                raise Gone
            length -= len(part)
        raise
