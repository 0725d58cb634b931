"""LiteRT's own profiler, through the C interface of ``libLiteRt.so`` in its wheel.

The Python interface has none. What the library lacks is found out before it is called; sizes of its structures have
changed between versions, so the events' size is read off the events themselves.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from ctypes import byref, c_bool, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, Feeding
from netdyno.base.errors import ModelError
from netdyno.devices.litert_events import BUILTIN, DELEGATED, Event, OperatorEvents
from netdyno.devices.litert_outputs import without_outputs
from netdyno.devices.operators import OperatorTimes
from netdyno.devices.tflite_inputs import choose, index_of_subgraph, signatures, tensor_indices
from netdyno.devices.tflite_names import named

LIBRARY = "libLiteRt.so"
MOST_EVENTS = 100_000
CPU = 1
LOCK_WRITE = 1
EVENT_SIZES = (104, 88, 120)
_KNOWN_SIZE = 104
"""That of the events whose further fields are known."""
_TAG, _TYPE, _ELAPSED, _SUBGRAPH = 0, 8, 24, 88
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
    "LiteRtCompiledModelResizeInputTensorNonStrict",
    "LiteRtGetCompiledModelOutputTensorLayouts",
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


def _layout(shape: tuple[int, ...]) -> _Layout:
    return _Layout(len(shape), 0, (c_int32 * 8)(*shape))


class LiteRtProfiler:
    """A model under LiteRT's profiler.

    Raises:
        ModelError: this LiteRT has no such profiler, or it refuses the model.
    """

    def __init__(self, data: bytes, inputs: Mapping[str, NDArray[Any]], threads: int, signature: str = "") -> None:
        feeding = Feeding(signature=signature)
        data = named(Artifact(data, "tflite", feeding=feeding))
        artifact = Artifact(data, "tflite", feeding=feeding)
        entry, known = choose(artifact), list(signatures(artifact).values())
        number = index_of_subgraph(known, 0) if entry is None else entry.index
        if known and number is None:
            raise ModelError("LiteRT's profiler runs signatures, and its main subgraph has none")
        own = {} if number is None else known[number].inputs
        indices = tensor_indices(artifact)
        by_tensor = {indices[name]: array for name, array in inputs.items()}
        fed = _Fed({name: by_tensor[index] for name, index in own.items()}, list(inputs.values()))
        self._profiled = _compile(data, threads, number or 0, fed)
        self._events = OperatorEvents()

    def warm_up(self, inferences: int) -> None:
        """Run without being profiled."""
        self._profiled.run(inferences)

    def run(self, inferences: int) -> None:
        """Run, and add the operators' times; whole µs each, as the profiler counts."""
        for _ in range(inferences):
            self._events.add(self._profiled.events(), 1)

    def operators(self) -> list[OperatorTimes]:
        """What was found.

        Raises:
            ModelError: it was nothing.
        """
        operators = self._events.operators()
        if not operators:
            raise ModelError("LiteRT's profiler told of no operator")
        return operators


def _compile(data: bytes, threads: int, signature: int, fed: _Fed) -> _Profiled:
    """A model that runs: without outputs where it does not with them, as where their sizes are known too late."""
    try:
        return _running(data, threads, signature, fed)
    except ModelError as error:
        try:
            return _running(without_outputs(data), threads, signature, fed)
        except ModelError:
            raise error from None


def _running(data: bytes, threads: int, signature: int, fed: _Fed) -> _Profiled:
    profiled = _Profiled(_Library(), data, threads, signature, fed)
    profiled.run(2)  # outputs that the first inference has moved are in no one's buffer at the second
    return profiled


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


@dataclass(frozen=True)
class _Fed:
    """Inputs by the names of a signature; those of a model without one have only their position."""

    by_name: Mapping[str, NDArray[Any]]
    by_position: Sequence[NDArray[Any]]


class _Profiled:
    """A compiled model with its buffers and profiler; it lives as long as its process."""

    def __init__(self, library: _Library, data: bytes, threads: int, signature: int, fed: _Fed) -> None:
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
        arrays = self._in_order(fed)
        for index, array in enumerate(arrays):
            self._resize(index, array.shape)
        self._inputs = self._buffers("Input", [_layout(array.shape) for array in arrays])
        self._outputs = self._buffers("Output", self._output_layouts())
        for buffer, array in zip(self._inputs, arrays, strict=True):
            self._write(c_void_p(buffer), array)

    def _add_options(self, options: c_void_p, identifier: str, text: str) -> None:
        libc = ctypes.CDLL(None)
        libc.strdup.restype = c_void_p
        payload = c_void_p(libc.strdup(text.encode()))  # the library frees it
        free = ctypes.cast(libc.free, c_void_p)
        opaque = self._library.handle("LiteRtCreateOpaqueOptions", identifier.encode(), payload, free)
        self._library.call("LiteRtAddOpaqueOptions", options, opaque)

    def _in_order(self, fed: _Fed) -> list[NDArray[Any]]:
        """The inputs as the signature counts them."""
        if len(fed.by_position) != self._library.count("LiteRtGetNumSignatureInputs", self._signature):
            raise ModelError("LiteRT's signature has other inputs than the model")
        arrays = []
        for index, other in enumerate(fed.by_position):
            name = c_char_p()
            self._library.call("LiteRtGetSignatureInputName", self._signature, c_size_t(index), byref(name))
            arrays.append(np.ascontiguousarray(fed.by_name.get((name.value or b"").decode(errors="replace"), other)))
        return arrays

    def _tensor_type(self, side: str, index: int) -> _TensorType:
        tensor = self._library.handle(f"LiteRtGetSignature{side}TensorByIndex", self._signature, c_size_t(index))
        kind = _TensorType()
        self._library.call("LiteRtGetRankedTensorType", tensor, byref(kind))
        return kind

    def _resize(self, index: int, shape: tuple[int, ...]) -> None:
        """Give an input another shape than the file's."""
        layout = self._tensor_type("Input", index).layout
        if tuple(layout.dimensions[: layout.rank]) != shape:
            sides = (c_int * len(shape))(*shape)
            place = (self._compiled, self._number, c_size_t(index))
            resize = "LiteRtCompiledModelResizeInputTensorNonStrict"
            self._library.call(resize, *place, sides, c_size_t(len(shape)))

    def _output_layouts(self) -> Sequence[_Layout]:
        """The outputs' shapes, now that the inputs' are known."""
        count = self._library.count("LiteRtGetNumSignatureOutputs", self._signature)
        layouts = (_Layout * count)()
        if count:
            told = (c_size_t(count), layouts, c_bool(True))
            self._library.call("LiteRtGetCompiledModelOutputTensorLayouts", self._compiled, self._number, *told)
        return list(layouts)

    def _buffers(self, side: str, layouts: Sequence[_Layout]) -> ctypes.Array[c_void_p]:
        handles = (self._buffer(side, index, layout).value for index, layout in enumerate(layouts))
        return (c_void_p * len(layouts))(*handles)

    def _buffer(self, side: str, index: int, layout: _Layout) -> c_void_p:
        kind = self._tensor_type(side, index)
        kind.layout = layout
        get = f"LiteRtGetCompiledModel{side}BufferRequirements"
        needs = self._library.handle(get, self._compiled, self._number, c_size_t(index))
        make = "LiteRtCreateManagedTensorBufferFromRequirements"
        return self._library.handle(make, self._environment, byref(kind), needs)

    def _write(self, buffer: c_void_p, array: NDArray[Any]) -> None:
        if self._library.count("LiteRtGetTensorBufferPackedSize", buffer) != array.nbytes:
            raise ModelError("LiteRT's profiler takes other inputs than the model")
        address = c_void_p()
        self._library.call("LiteRtLockTensorBuffer", buffer, byref(address), c_int(LOCK_WRITE))
        ctypes.memmove(address, array.ctypes.data, array.nbytes)
        self._library.call("LiteRtUnlockTensorBuffer", buffer)

    def run(self, repeat: int) -> None:
        """Inferences one after the other."""
        sizes = (c_size_t(len(self._inputs)), c_size_t(len(self._outputs)))
        for _ in range(repeat):
            arguments = (self._compiled, self._number, sizes[0], self._inputs, sizes[1], self._outputs)
            self._library.call("LiteRtRunCompiledModel", *arguments)

    def events(self) -> list[Event]:
        """The events of one inference."""
        self._library.call("LiteRtResetProfiler", self._profiler)
        self._library.call("LiteRtStartProfiler", self._profiler)
        self.run(1)
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
        subgraph = int.from_bytes(raw[at + _SUBGRAPH : at + _SUBGRAPH + 8], "little") if size == _KNOWN_SIZE else None
        elapsed_us = int.from_bytes(raw[at + _ELAPSED : at + _ELAPSED + 8], "little")
        yield Event(text.decode(errors="replace"), kind, elapsed_us, subgraph)
