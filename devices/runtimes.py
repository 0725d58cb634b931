"""The runtimes of a CPU worker: each loads a model from bytes; their libraries are imported here only."""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.random  # NumPy loads it late, and what is loaded late counts as the model's memory
from numpy.typing import NDArray

from netdyno.base.artifact import TensorSpec
from netdyno.base.errors import ModelError
from netdyno.devices.wire import DTYPES, MAX_ARRAYS_BYTES

Arrays = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]


class Model(ABC):
    """A model loaded by a runtime (``library`` is its import) and ready to run; ``inputs`` are concrete."""

    library: ClassVar[str]
    inputs: tuple[TensorSpec, ...]

    @abstractmethod
    def __init__(self, data: bytes, shapes: Shapes, threads: int) -> None:
        """Load ``data``; ``shapes`` are those that the caller knows, by input name.

        Raises:
            ModelError: an input's shape is open, contradicts ``shapes``, or its type cannot be fed.
        """

    @abstractmethod
    def feed(self, arrays: Arrays) -> None:
        """Set every input; they stay until the next call."""

    @abstractmethod
    def run(self) -> None:
        """One inference: this call is what is timed."""

    @abstractmethod
    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the last inference's outputs."""


class OnnxRuntimeModel(Model):
    """ONNX Runtime on its CPU provider; inputs and outputs are bound once, which is its leanest call.

    With ``profile`` the runtime times its operators, and writes a file whose name begins so.
    """

    library = "onnxruntime"
    _TYPES: ClassVar = {
        f"tensor({name})": dtype
        for dtype in sorted(DTYPES)
        for name in [{"float32": "float", "float64": "double"}.get(dtype, dtype)]
    }

    def __init__(self, data: bytes, shapes: Shapes, threads: int, profile: Path | None = None) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Sessions take turns: without this, the idle threads of one would spin into the next one's time.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        found = [(i.name, i.shape, self._TYPES.get(i.type, i.type)) for i in self._session.get_inputs()]
        self.inputs = concrete(found, shapes)
        self._binding = self._session.io_binding()
        self._fed: Arrays = {}
        self._outputs = [output.name for output in self._session.get_outputs()]
        for output in self._session.get_outputs():
            require_dtype(output.name, self._TYPES.get(output.type, output.type))
            self._binding.bind_output(output.name, "cpu")

    def feed(self, arrays: Arrays) -> None:
        """Set every input; the binding points into the arrays, so they are kept."""
        self._fed = dict(arrays)
        for name, array in self._fed.items():
            self._binding.bind_cpu_input(name, array)

    def run(self) -> None:
        """One inference."""
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the last inference's outputs."""
        return dict(zip(self._outputs, self._binding.copy_outputs_to_cpu(), strict=True))

    def end_profiling(self) -> Path:
        """End the profile; returns its file."""
        return Path(self._session.end_profiling())


class LiteRtModel(Model):
    """LiteRT's interpreter with XNNPACK, which it applies by itself; it verifies the flatbuffer before use."""

    library = "ai_edge_litert.interpreter"

    def __init__(self, data: bytes, shapes: Shapes, threads: int) -> None:
        if data[4:8] != b"TFL3":
            raise ModelError("not a TFLite model: its identifier is missing")
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=data, num_threads=threads)
        details = self._interpreter.get_input_details()
        found = [(d["name"], _signature(d), np.dtype(d["dtype"]).name) for d in details]
        self.inputs = concrete(found, shapes)
        self._input_indices = {d["name"]: d["index"] for d in details}
        for spec, detail in zip(self.inputs, details, strict=True):
            if spec.shape != tuple(detail["shape"]):
                self._interpreter.resize_tensor_input(detail["index"], spec.shape, strict=True)
        self._interpreter.allocate_tensors()
        self._output_indices = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}
        for detail in self._interpreter.get_output_details():
            require_dtype(detail["name"], np.dtype(detail["dtype"]).name)

    def feed(self, arrays: Arrays) -> None:
        """Set every input; the interpreter keeps its own copy."""
        for name, array in arrays.items():
            self._interpreter.set_tensor(self._input_indices[name], array)

    def run(self) -> None:
        """One inference."""
        self._interpreter.invoke()

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the last inference's outputs."""
        return {name: self._interpreter.get_tensor(index) for name, index in self._output_indices.items()}


RUNTIMES: Mapping[str, type[Model]] = {"onnxruntime": OnnxRuntimeModel, "litert": LiteRtModel}


def concrete(found: Sequence[tuple[str, Sequence[Any], str]], shapes: Shapes) -> tuple[TensorSpec, ...]:
    """The input specs of a model, its open dimensions filled from ``shapes``.

    ``found`` holds name, dimensions (anything but a positive number is open) and dtype as the runtime says.

    Raises:
        ModelError: two inputs of one name, a shape is missing or contradicts the model, a dtype cannot be fed.
    """
    names = [name for name, _, _ in found]
    if len(set(names)) < len(names):
        raise ModelError(f"two of its inputs have the same name: {', '.join(sorted(names))}")
    for name in shapes:
        if name not in names:
            raise ModelError(f"it has no input {name!r}; its inputs: {', '.join(names) or 'none'}")
    return tuple(_concrete(name, dimensions, dtype, shapes.get(name)) for name, dimensions, dtype in found)


def _concrete(name: str, dimensions: Sequence[Any], dtype: str, given: tuple[int, ...] | None) -> TensorSpec:
    require_dtype(name, dtype)
    sides = tuple(side if isinstance(side, int) and side > 0 else None for side in dimensions)
    if given is None:
        given = tuple(side for side in sides if side is not None)
        if len(given) < len(sides):
            raise ModelError(f"the shape of input {name!r} is open ({_x(sides)}); give its shape with --input-shape")
    if len(given) != len(sides) or any(side not in (None, known) for side, known in zip(sides, given, strict=True)):
        raise ModelError(f"input {name!r} is {_x(sides)} in the model, not {_x(given)}")
    if math.prod(given) * np.dtype(dtype).itemsize > MAX_ARRAYS_BYTES:
        raise ModelError(f"input {name!r} is too large: {_x(given)}")
    return TensorSpec(name, given, dtype)


def _x(sides: Sequence[int | None]) -> str:
    return "x".join("?" if side is None else str(side) for side in sides) or "a scalar"


def _signature(detail: Mapping[str, Any]) -> list[int]:
    """A TFLite input's dimensions, -1 where open; models without open ones may leave the signature empty."""
    signature = detail["shape_signature"]
    return [int(side) for side in (signature if len(signature) else detail["shape"])]


def require_dtype(name: str, dtype: str) -> None:
    """Make sure that a tensor can travel to and from the worker.

    Raises:
        ModelError: it cannot (strings, sequences, 4-bit numbers, …).
    """
    if dtype not in DTYPES:
        raise ModelError(f"tensor {name!r} is of a type that netdyno cannot feed or read: {dtype}")


def default_inputs(specs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Fixed pseudo-random inputs: floats in [0, 1), 8-bit numbers in full range, 0 or 1 for wider integers.

    Wider integers are usually indices (token ids), which have to be small to be valid for every model.
    """
    return {spec.name: _default_input(spec) for spec in specs}


def _default_input(spec: TensorSpec) -> NDArray[Any]:
    generator = numpy.random.default_rng(zlib.crc32(spec.name.encode()))
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max) if dtype.itemsize == 1 else (0, 1)
        return np.asarray(generator.integers(low, high, spec.shape, dtype, endpoint=True))
    values = generator.random(spec.shape)
    return np.asarray(values < 0.5 if dtype.kind == "b" else values, dtype)
