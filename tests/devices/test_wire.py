from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import DeviceError, WorkerLost
from netdyno.devices import wire
from netdyno.devices.wire import Frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ARRAYS = st.sampled_from(sorted(wire.DTYPES)).flatmap(lambda dtype: arrays.arrays(dtype, SHAPES))
FRAMES = st.builds(Frame, st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), ARRAYS, max_size=3))


class Recorder:
    """A stream that ends where its bytes end, and gives them in small pieces."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def sendall(self, data: bytes | memoryview) -> None:
        self.data += data

    def recv_into(self, buffer: memoryview) -> int:
        piece = self.data[: min(len(buffer), 7)]
        buffer[: len(piece)] = piece
        del self.data[: len(piece)]
        return len(piece)


def encoded(frame: Frame) -> bytes:
    stream = Recorder()
    wire.send(stream, frame)
    return bytes(stream.data)


def header(content: Any) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return wire.MAGIC + struct.pack("<I", len(text)) + text


@given(FRAMES)
def test_round_trip(frame: Frame) -> None:
    stream = Recorder(encoded(frame))
    back = wire.receive(stream)
    assert back.message == frame.message
    assert list(back.arrays) == list(frame.arrays)
    for name, array in frame.arrays.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)
    assert not stream.data


@given(FRAMES, st.data())
def test_truncated(frame: Frame, data: st.DataObject) -> None:
    whole = encoded(frame)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WorkerLost):
        wire.receive(Recorder(whole[:cut]))


@given(st.binary(max_size=200))
def test_garbage(garbage: bytes) -> None:
    with pytest.raises(DeviceError):
        wire.receive(Recorder(garbage))


@given(st.binary(max_size=200) | JSON | st.fixed_dictionaries({"message": JSON, "arrays": st.lists(JSON)}))
def test_garbage_in_a_header(content: Any) -> None:
    try:
        frame = wire.receive(Recorder(header(content)))
    except DeviceError as error:
        assert "\n" not in str(error)  # noqa: PT017 (not every header is broken)
    else:
        assert content["message"] == frame.message


@pytest.mark.parametrize(
    "array",
    [
        {"name": "a", "dtype": "object", "shape": [1]},
        {"name": "a", "dtype": "str", "shape": [1]},
        {"name": "a", "dtype": "float32", "shape": [-1]},
        {"name": "a", "dtype": "float32", "shape": [True]},
        {"name": "a", "dtype": "float32", "shape": [1.0]},
        {"name": "a", "dtype": "float32", "shape": [1] * 33},
        {"name": "a", "dtype": "float32", "shape": [2**31, 2**31]},
        {"name": "a", "dtype": "float32", "shape": [0, 2**33, 2**33]},
        {"name": 1, "dtype": "float32", "shape": [1]},
        {"name": "a", "shape": [1]},
    ],
)
def test_hostile_arrays(array: dict[str, Any]) -> None:
    with pytest.raises(DeviceError):
        wire.receive(Recorder(header({"message": {}, "arrays": [array]}) + bytes(64)))


@pytest.mark.parametrize("text", [b"[" * 500_000, b'{"message": {"a": ' + b"9" * 5000 + b"}}", b"\xff\xfe"])
def test_hostile_json(text: bytes) -> None:
    with pytest.raises(DeviceError):
        wire.receive(Recorder(header(text)))


def test_a_header_length_is_checked_before_it_is_read() -> None:
    with pytest.raises(DeviceError, match="not a frame"):
        wire.receive(Recorder(wire.MAGIC + struct.pack("<I", wire.MAX_HEADER_BYTES + 1)))


@pytest.mark.parametrize(
    "frame",
    [
        Frame({}, {"x": np.array(["text"])}),
        Frame({}, {"x": np.array([None])}),
        Frame({"long": "x" * wire.MAX_HEADER_BYTES}),
        Frame({}, {"x": np.broadcast_to(np.int8(0), (wire.MAX_ARRAYS_BYTES + 1,))}),
    ],
    ids=["text", "object", "long", "large"],
)
def test_what_cannot_travel_is_not_begun(frame: Frame) -> None:
    stream = Recorder()
    with pytest.raises(DeviceError):
        wire.send(stream, frame)
    assert not stream.data


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[::2, ::-1], lambda a: a.astype(">f4"), lambda a: a[0, 0]]
)
def test_any_memory_layout(view: Callable[[Any], Any]) -> None:
    array = view(np.arange(12, dtype=np.float32).reshape(3, 4))
    back = wire.receive(Recorder(encoded(Frame({}, {"x": array})))).arrays["x"]
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_larger_than_a_socket_buffer() -> None:
    array = np.arange(5_000_000, dtype=np.int64)
    here, there = socket.socketpair()
    with here, there:
        sender = threading.Thread(target=wire.send, args=(there, Frame({"n": 1}, {"x": array})))
        sender.start()
        back = wire.receive(here)
        sender.join()
    np.testing.assert_array_equal(back.arrays["x"], array)
