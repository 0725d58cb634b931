"""Frames between a device and its worker: a JSON message and named arrays, with nothing executable in them.

::

    magic (4 bytes)  header length (uint32)  header (JSON)  array bytes, one array after the other
    header = {"message": {…}, "arrays": [{"name": …, "dtype": …, "shape": […]}, …]}

All numbers are little-endian, arrays are in C order. A reader trusts no length before it has checked it.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netdyno.base.deadline import patience_s
from netdyno.base.errors import DeviceError, WorkerLost
from netdyno.base.units import format_bytes

MAGIC = b"NDY1"
MAX_HEADER_BYTES = 1 << 20
MAX_ARRAYS_BYTES = 1 << 33
SLOWEST_BYTES_S = 100_000.0
"""The slowest connection that is put up with, beyond the time that an answer may take."""
MAX_RANK = 32
_PIECE = 1 << 20
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = frozenset({"bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"})

_PREFIX = struct.Struct("<4sI")

Arrays = Mapping[str, NDArray[Any]]


class Stream(Protocol):
    """What frames travel on; a connected socket is one."""

    def sendall(self, data: bytes | memoryview, /) -> None:
        """Write all of it."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read at most ``len(buffer)`` bytes, 0 at the end."""


@dataclass(frozen=True)
class Frame:
    """A message (JSON types only) and the arrays that go with it."""

    message: dict[str, Any]
    arrays: Arrays = field(default_factory=dict)


class TimedStream:
    """A socket on which a whole frame travels within ``most_s`` and the deadline of :mod:`netdyno.base.deadline`.

    What travels extends that time, by as much as the slowest connection needs for it; waiting for it does not.
    """

    def __init__(self, connection: socket.socket, most_s: float) -> None:
        self._connection = connection
        self._end = time.monotonic() + patience_s(most_s)
        self._deadline = time.monotonic() + patience_s(math.inf)

    def _limit(self) -> None:
        left_s = min(self._end, self._deadline) - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)

    def sendall(self, data: bytes | memoryview) -> None:
        """Write all of it; raises TimeoutError."""
        self._end += len(data) / SLOWEST_BYTES_S
        self._limit()
        self._connection.sendall(data)

    def recv_into(self, buffer: memoryview) -> int:
        """Read at most ``len(buffer)`` bytes, 0 at the end; raises TimeoutError."""
        self._limit()
        count = self._connection.recv_into(buffer)
        self._end += count / SLOWEST_BYTES_S
        return count


def send(stream: Stream, frame: Frame) -> None:
    """Write a frame.

    Raises:
        DeviceError: it holds something that a frame cannot carry; nothing was written then.
        OSError: the stream broke or timed out.
    """
    if sum(array.nbytes for array in frame.arrays.values()) > MAX_ARRAYS_BYTES:
        raise DeviceError(f"a frame carries at most {MAX_ARRAYS_BYTES} bytes of arrays")
    arrays = {name: _portable(name, array) for name, array in frame.arrays.items()}
    entries = [{"name": name, "dtype": a.dtype.name, "shape": a.shape} for name, a in arrays.items()]
    header = json.dumps({"message": frame.message, "arrays": entries}).encode()
    if len(header) > MAX_HEADER_BYTES:
        raise DeviceError(f"a frame's header has at most {MAX_HEADER_BYTES} bytes, not {len(header)}")
    stream.sendall(_PREFIX.pack(MAGIC, len(header)) + header)
    for array in arrays.values():
        data = _bytes_of(array)
        for start in range(0, len(data), _PIECE):  # a stream's time limit is extended piece by piece
            stream.sendall(data[start : start + _PIECE])


def receive(stream: Stream, most_bytes: int = MAX_ARRAYS_BYTES) -> Frame:
    """Read a frame whose arrays hold at most ``most_bytes``.

    Raises:
        WorkerLost: the stream ended, between frames or inside one.
        DeviceError: what came is not a frame, or is larger.
        OSError: the stream broke or timed out.
    """
    magic, length = _PREFIX.unpack(_read(stream, _PREFIX.size))
    if magic != MAGIC or length > MAX_HEADER_BYTES:
        raise DeviceError("the worker sent something that is not a frame")
    message, arrays = _parse_header(bytes(_read(stream, length)), most_bytes)
    for array in arrays.values():
        _fill(stream, _bytes_of(array))
    return Frame(message, arrays)


def _portable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name not in DTYPES:
        raise DeviceError(f"a frame cannot carry {name}: its dtype is {array.dtype.name}")
    return np.asarray(array, dtype=np.dtype(array.dtype.name).newbyteorder("<"), order="C")


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """The memory of an array in C order; writing to it writes to the array."""
    return array.reshape(-1).view(np.uint8).data


def _parse_header(header: bytes, most_bytes: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The message, and the arrays still to be filled."""
    try:
        content = json.loads(header)
        message, entries = content["message"], content["arrays"]
        if not isinstance(message, dict):
            raise TypeError("not an object")
        specs = {_text(e["name"]): (_text(e["dtype"]), _shape(e["shape"])) for e in entries}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DeviceError("the worker sent a frame with a broken header") from error
    return message, _allocate(specs, most_bytes)


def _allocate(specs: Mapping[str, tuple[str, tuple[int, ...]]], most_bytes: int) -> dict[str, NDArray[Any]]:
    if any(dtype not in DTYPES for dtype, _ in specs.values()):
        raise DeviceError("the worker sent an array of an unknown dtype")
    # Even an empty array's other sides are bounded, as NumPy wants them.
    sizes = [np.dtype(dtype).itemsize * math.prod(s or 1 for s in shape) for dtype, shape in specs.values()]
    if sum(sizes) > most_bytes:
        text = (
            f"the worker sent an answer of {format_bytes(sum(sizes))}, where at most {format_bytes(most_bytes)} fit"
        )
        raise DeviceError(text)
    try:
        return {name: np.empty(shape, dtype) for name, (dtype, shape) in specs.items()}
    except MemoryError as error:
        raise DeviceError("a frame came that does not fit: out of memory") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_RANK or not all(type(side) is int for side in value):
        raise TypeError("not a shape")
    if any(side < 0 or side > MAX_ARRAYS_BYTES for side in value):
        raise ValueError("not a shape")
    return tuple(value)


def _read(stream: Stream, count: int) -> bytearray:
    buffer = bytearray(count)
    _fill(stream, memoryview(buffer))
    return buffer


def _fill(stream: Stream, target: memoryview) -> None:
    while target:
        count = stream.recv_into(target)
        if count == 0:
            raise WorkerLost("the worker ended in the middle of an answer")
        target = target[count:]
