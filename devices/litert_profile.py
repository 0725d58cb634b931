"""LiteRT's own profiler, through the C interface of ``libLiteRt.so`` in its wheel.

The Python interface has none. What the library lacks is found out before it is called; sizes of its structures have
changed between versions, so the events' size is read off the events themselves.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from ctypes import byref, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, Feeding
from netdyno.base.errors import ModelError
from netdyno.devices.litert_events import BUILTIN, DELEGATED, Event, add_events
from netdyno.devices.operators import OperatorTimes
from netdyno.devices.tflite_inputs import choose, index_of_subgraph, signatures, tensor_indices

LIBRARY = "libLiteRt.so"
MOST_EVENTS = 100_000
CPU = 1
LOCK_WRITE = 1
EVENT_SIZES = (104, 88, 120)
_TAG, _TYPE, _ELAPSED = 0, 8, 24
_FUNCTIONS = (
    "LiteRtCreateEnvironment",
    "LiteRtCreateModelFromBuffer",
    "LiteRtCreateOptions",
    "LiteRtSetOptionsHardwareAccelerators",
    "LiteRtCreateOpaqueOptions",
    "LiteRtAddOpaqueOptions",
    "LiteRtCreateCompiledModel",
    "LiteRtCompiledModelGetProfiler",
    "LiteRtStartProfiler",
    "LiteRtStopProfiler",
    "LiteRtResetProfiler",
    "LiteRtGetNumProfilerEvents",
    "LiteRtGetProfilerEvents",
    "LiteRtRunCompiledModel",
    "LiteRtGetModelSignature",
    "LiteRtGetNumSignatureInputs",
    "LiteRtGetNumSignatureOutputs",
    "LiteRtGetSignatureInputName",
    "LiteRtGetSignatureInputTensorByIndex",
    "LiteRtGetSignatureOutputTensorByIndex",
    "LiteRtGetRankedTensorType",
    "LiteRtGetCompiledModelInputBufferRequirements",
    "LiteRtGetCompiledModelOutputBufferRequirements",
    "LiteRtCreateManagedTensorBufferFromRequirements",
    "LiteRtGetTensorBufferPackedSize",
    "LiteRtLockTensorBuffer",
    "LiteRtUnlockTensorBuffer",
)


class _Layout(ctypes.Structure):
    _fields_ = (
        ("rank", c_uint32, 7),
        ("has_strides", c_uint32, 1),
        ("dimensions", c_int32 * 8),
        ("strides", c_uint32 * 8),
    )


class _TensorType(ctypes.Structure):
    _fields_ = (("element_type", c_int32), ("layout", _Layout))


class LiteRtProfiler:
    """A model under LiteRT's profiler.

    Raises:
        ModelError: this LiteRT has no such profiler, or it refuses the model.
    """

    def __init__(self, data: bytes, inputs: Mapping[str, NDArray[Any]], threads: int, signature: str = "") -> None:
        artifact = Artifact(data, "tflite", feeding=Feeding(signature=signature))
        entry, known = choose(artifact), list(signatures(artifact).values())
        number = index_of_subgraph(known, 0) if entry is None else entry.index
        if known and number is None:
            raise ModelError("LiteRT's profiler runs signatures, and its main subgraph has none")
        own = {} if number is None else known[number].inputs
        indices = tensor_indices(artifact)
        self._profiled = _Profiled(_Library(), data, threads, number or 0)
        by_tensor = {indices[name]: array for name, array in inputs.items()}
        self._profiled.feed({name: by_tensor[index] for name, index in own.items()}, list(inputs.values()))
        self._operators: list[OperatorTimes] = []

    def warm_up(self, inferences: int) -> None:
        """Run without being profiled."""
        self._profiled.run(inferences)

    def run(self, inferences: int) -> None:
        """Run, and add the operators' times; whole µs each, as the profiler counts."""
        add_events(self._operators, self._profiled.events(inferences))

    def operators(self) -> list[OperatorTimes]:
        """What was found.

        Raises:
            ModelError: it was nothing.
        """
        if not self._operators:
            raise ModelError("LiteRT's profiler told of no operator")
        return self._operators


class _Library:
    """The shared library; a call that does not succeed raises."""

    def __init__(self) -> None:
        import ai_edge_litert

        path = Path(ai_edge_litert.__path__[0]) / LIBRARY
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise ModelError(f"this LiteRT has no profiler: {error}") from error
        missing = [name for name in _FUNCTIONS if not hasattr(self._library, name)]
        if missing:
            raise ModelError(f"this LiteRT has no profiler: {LIBRARY} lacks {missing[0]}")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function whose result is a status."""
        status = getattr(self._library, name)(*arguments)
        if status:
            raise ModelError(f"{name} failed with status {status}")

    def handle(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function that puts a handle into its last argument."""
        found = c_void_p()
        self.call(name, *arguments, byref(found))
        return found

    def count(self, name: str, handle: c_void_p) -> int:
        """Call a function that puts a size into its last argument."""
        found = c_size_t()
        self.call(name, handle, byref(found))
        return found.value


class _Profiled:
    """A compiled model with its buffers and profiler; it lives as long as its process."""

    def __init__(self, library: _Library, data: bytes, threads: int, signature: int) -> None:
        self._library = library
        self._data = data  # the model points into it
        self._environment = library.handle("LiteRtCreateEnvironment", c_int(0), None)
        size = c_size_t(len(data))
        self._model = library.handle("LiteRtCreateModelFromBuffer", self._environment, data, size)
        options = library.handle("LiteRtCreateOptions")
        library.call("LiteRtSetOptionsHardwareAccelerators", options, c_int(CPU))
        self._add_options(options, "runtime_options_string", "enable_profiling = true\n")
        self._add_options(options, "xnnpack", f"num_threads = {threads}\n")
        self._compiled = library.handle("LiteRtCreateCompiledModel", self._environment, self._model, options)
        self._profiler = library.handle("LiteRtCompiledModelGetProfiler", self._compiled)
        self._number = c_size_t(signature)
        self._signature = library.handle("LiteRtGetModelSignature", self._model, self._number)
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")

    def _add_options(self, options: c_void_p, identifier: str, text: str) -> None:
        libc = ctypes.CDLL(None)
        libc.strdup.restype = c_void_p
        payload = c_void_p(libc.strdup(text.encode()))  # the library frees it
        free = ctypes.cast(libc.free, c_void_p)
        opaque = self._library.handle("LiteRtCreateOpaqueOptions", identifier.encode(), payload, free)
        self._library.call("LiteRtAddOpaqueOptions", options, opaque)

    def _buffers(self, side: str) -> ctypes.Array[c_void_p]:
        count = self._library.count(f"LiteRtGetNumSignature{side}s", self._signature)
        return (c_void_p * count)(*(self._buffer(side, i).value for i in range(count)))

    def _buffer(self, side: str, index: int) -> c_void_p:
        library, position = self._library, c_size_t(index)
        tensor = library.handle(f"LiteRtGetSignature{side}TensorByIndex", self._signature, position)
        kind = _TensorType()
        library.call("LiteRtGetRankedTensorType", tensor, byref(kind))
        get = f"LiteRtGetCompiledModel{side}BufferRequirements"
        needs = library.handle(get, self._compiled, self._number, position)
        make = "LiteRtCreateManagedTensorBufferFromRequirements"
        return library.handle(make, self._environment, byref(kind), needs)

    def feed(self, inputs: Mapping[str, NDArray[Any]], by_position: Sequence[NDArray[Any]]) -> None:
        """Copy inputs into their buffers, by the signature's names; of a model without one by their position."""
        if len(by_position) != len(self._inputs):
            raise ModelError("LiteRT's signature has other inputs than the model")
        for index, buffer in enumerate(self._inputs):
            name = c_char_p()
            arguments = (self._signature, c_size_t(index), byref(name))
            self._library.call("LiteRtGetSignatureInputName", *arguments)
            array = np.ascontiguousarray(inputs.get((name.value or b"").decode(errors="replace"), by_position[index]))
            handle = c_void_p(buffer)
            if self._library.count("LiteRtGetTensorBufferPackedSize", handle) != array.nbytes:
                raise ModelError("its inputs have open shapes, which LiteRT's profiler does not take")
            address = c_void_p()
            self._library.call("LiteRtLockTensorBuffer", handle, byref(address), c_int(LOCK_WRITE))
            ctypes.memmove(address, array.ctypes.data, array.nbytes)
            self._library.call("LiteRtUnlockTensorBuffer", handle)

    def run(self, repeat: int) -> None:
        """Inferences one after the other."""
        sizes = (c_size_t(len(self._inputs)), c_size_t(len(self._outputs)))
        for _ in range(repeat):
            arguments = (self._compiled, self._number, sizes[0], self._inputs, sizes[1], self._outputs)
            self._library.call("LiteRtRunCompiledModel", *arguments)

    def events(self, repeat: int) -> list[Event]:
        """Tag, type and elapsed µs of each event of some inferences."""
        self._library.call("LiteRtResetProfiler", self._profiler)
        self._library.call("LiteRtStartProfiler", self._profiler)
        self.run(repeat)
        self._library.call("LiteRtStopProfiler", self._profiler)
        count = c_int()
        self._library.call("LiteRtGetNumProfilerEvents", self._profiler, byref(count))
        if not 0 <= count.value <= MOST_EVENTS:
            raise ModelError(f"LiteRT's profiler tells of {count.value} events")
        buffer = ctypes.create_string_buffer(2 * max(EVENT_SIZES) * count.value + 8)
        self._library.call("LiteRtGetProfilerEvents", self._profiler, count, buffer)
        return list(read_events(bytes(buffer), count.value))


def read_events(raw: bytes, count: int) -> Iterator[Event]:
    """Events of a buffer that the library filled; their size is the one at which all have a known type."""
    for size in EVENT_SIZES:
        types = [int.from_bytes(raw[i * size + _TYPE : i * size + _TYPE + 4], "little") for i in range(count)]
        if all(kind and kind & (kind - 1) == 0 and kind <= 256 for kind in types) and not any(raw[count * size :]):
            break
    else:
        raise ModelError("this LiteRT's profiler has events of an unknown form")
    for i, kind in enumerate(types):
        at = i * size
        tag = c_void_p(int.from_bytes(raw[at + _TAG : at + _TAG + 8], "little"))
        text = ctypes.cast(tag, c_char_p).value or b"" if kind in (BUILTIN, DELEGATED) else b""
        yield text.decode(errors="replace"), kind, int.from_bytes(raw[at + _ELAPSED : at + _ELAPSED + 8], "little")
