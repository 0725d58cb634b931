"""Models in a worker: what the agent loads, with shapes made concrete, types checked, and inputs to run it with."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.random  # NumPy loads it late, and what is loaded late counts as the model's memory
from numpy.typing import NDArray

from netdyno.base.artifact import TensorSpec
from netdyno.base.errors import ModelError
from netdyno.devices.agent import models
from netdyno.devices.wire import DTYPES, MAX_RANK

MAX_INPUT_BYTES = 1 << 30

Arrays = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]


class Model:
    """A model that a runtime has loaded and made ready to run; ``inputs`` are concrete.

    ``shapes`` are those that the caller knows, by input name; ``options`` are the runtime's own.

    Raises:
        ModelError: an input's shape is open, contradicts ``shapes``, or a tensor's type cannot travel.
    """

    def __init__(self, runtime: str, data: bytes, shapes: Shapes, threads: int, **options: Any) -> None:
        self.loaded = models.runtime_class(runtime, "cpu")(data, threads, **options)
        self.inputs = concrete(self.loaded.found, shapes)
        for name, dtype in self.loaded.results:
            require_dtype(name, dtype)
        self.loaded.allocate([spec.shape for spec in self.inputs])
        self.run: Callable[[], None] = self.loaded.run

    def feed(self, arrays: Arrays) -> None:
        """Set every input; they stay until the next call."""
        self.loaded.feed(arrays)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the last inference's outputs."""
        return dict(self.loaded.outputs())

    def time_runs(self, repeat: int) -> NDArray[np.int64]:
        """Latency of each of ``repeat`` inferences: ``(repeat,) int64``, ns."""
        return np.array(models.time_runs(self.run, repeat), np.int64)


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
    if len(given) > MAX_RANK or math.prod(given) * np.dtype(dtype).itemsize > MAX_INPUT_BYTES:
        raise ModelError(f"input {name!r} is too large: {_x(given)}")
    return TensorSpec(name, given, dtype)


def _x(sides: Sequence[int | None]) -> str:
    return "x".join("?" if side is None else str(side) for side in sides) or "a scalar"


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
    # No copy of another type: it would count as the model's memory.
    values = generator.random(spec.shape, np.float64 if dtype == np.float64 else np.float32)
    return np.asarray(values < 0.5 if dtype.kind == "b" else values, dtype)
