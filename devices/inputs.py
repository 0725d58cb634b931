"""Values of a model's inputs: what a user gives, or else a fixed pseudo-random set that is legal for the model."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import TensorSpec
from netdyno.base.errors import InputError
from netdyno.base.files import read_bytes
from netdyno.devices.shapes import join
from netdyno.devices.types import STRING, integer_range, numpy_dtype

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_SCALAR = re.compile(rf"{_NUMBER}|[+-]?(?:inf|nan)")
_INTEGER = re.compile(r"[+-]?\d+")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
TEXT_VALUE = "a"
"""Default value of an input of texts."""

Limits = Mapping[str, tuple[int, int, str]]
"""Least and greatest legal number of inputs that are indices, and what they are indices of."""


@dataclass(frozen=True)
class FedInput:
    """An input's name, shape and dtype, and its values in words."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    values: str


def is_file(text: str) -> bool:
    """True where a value is the name of a file of values."""
    return text.lower().endswith(".npy")


@lru_cache(maxsize=64)
def load(path: str) -> NDArray[Any]:
    """The array of a ``.npy`` file.

    Raises:
        InputError: it is none.
    """
    try:
        array = np.load(io.BytesIO(read_bytes(Path(path))), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, SyntaxError, OverflowError) as error:
        raise InputError(f"{path}: not a .npy file of numbers or texts") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufcUS":
        raise InputError(f"{path}: not a .npy file of numbers or texts")
    return array


def require_value(name: str, text: str) -> None:
    """Make sure that a value can be one of some type; a file is read.

    Raises:
        InputError: it is empty, a range that is none, or a file that cannot be read.
    """
    if is_file(text):
        load(text)
    elif match := _RANGE.fullmatch(text):
        low, high = map(float, match.groups())
        if not low <= high or not math.isfinite(high - low):
            raise InputError(f"--input {name}={text}: not a range; write the lower end first, as in 0..9")


def values_of(
    specs: Sequence[TensorSpec], given: Mapping[str, str], limits: Limits
) -> tuple[dict[str, NDArray[Any]], tuple[FedInput, ...]]:
    """Every input's array, and what is fed in words.

    Raises:
        InputError: a given value does not suit its input.
    """
    arrays, fed = {}, []
    for spec in specs:
        if spec.name in given:
            arrays[spec.name], words = _given(spec, given[spec.name])
        else:
            arrays[spec.name], words = default_value(spec, limits.get(spec.name))
        fed.append(FedInput(spec.name, spec.shape, spec.dtype, words))
    return arrays, tuple(fed)


def default_value(spec: TensorSpec, limits: tuple[int, int, str] | None = None) -> tuple[NDArray[Any], str]:
    """Fixed pseudo-random values: reals in [0, 1), 8-bit numbers in full range, 0 or 1 for wider integers.

    Wider integers are often token ids, which have to be small to be valid for every model; those that are known to be
    indices take all that are legal.
    """
    if spec.dtype == STRING:
        return np.full(spec.shape, TEXT_VALUE, object), f"{TEXT_VALUE!r}"
    bounds = integer_range(spec.dtype)
    if bounds is None:
        return _random_reals(spec), "random true or false" if spec.dtype == "bool" else "random in [0, 1)"
    wide = bounds[1] > 255
    low, high = (0, 1) if wide else bounds
    words = ""
    if limits is not None and max(limits[0], bounds[0]) <= min(limits[1], bounds[1]):
        low, high, words = max(limits[0], bounds[0]), min(limits[1], bounds[1]), f" ({limits[2]})"
    return _random_integers(spec, low, high), f"random integers {low}..{high}{words}"


def _generator(spec: TensorSpec) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(spec.name.encode(errors="replace")))


def _random_integers(spec: TensorSpec, low: int, high: int) -> NDArray[Any]:
    own = numpy_dtype(spec.dtype)
    drawn = own if own.kind in "iu" else np.dtype(np.int8 if low < 0 else np.uint8)
    return np.asarray(_generator(spec).integers(low, high, spec.shape, drawn, endpoint=True)).astype(own, copy=False)


def _random_reals(spec: TensorSpec, low: float = 0.0, high: float = 1.0) -> NDArray[Any]:
    # No copy of another type: it would count as the model's memory.
    values: NDArray[Any] = _generator(spec).random(spec.shape, np.float64 if spec.dtype == "float64" else np.float32)
    if (low, high) != (0.0, 1.0):
        values = np.asarray(low + (high - low) * values, values.dtype)
    return np.asarray(values < 0.5 if spec.dtype == "bool" else values, numpy_dtype(spec.dtype))


def _given(spec: TensorSpec, text: str) -> tuple[NDArray[Any], str]:
    if is_file(text):
        return _from_file(spec, text), f"from {text}"
    if spec.dtype == STRING:
        return np.full(spec.shape, text, object), repr(text)
    if match := _RANGE.fullmatch(text):
        return _from_range(spec, text, *match.groups())
    if spec.dtype == "bool":
        if text.lower() not in _TRUTHS:
            raise _unsuited(spec, text, "true or false")
        return np.full(spec.shape, _TRUTHS[text.lower()]), text.lower()
    bounds = integer_range(spec.dtype)
    if bounds is None:
        if not _SCALAR.fullmatch(text.lower()):
            raise _unsuited(spec, text, "a number, LOW..HIGH, or the name of a .npy file")
        return np.full(spec.shape, float(text), numpy_dtype(spec.dtype)), text
    return np.full(spec.shape, _integer(spec, text, bounds), numpy_dtype(spec.dtype)), text


def _from_range(spec: TensorSpec, text: str, low: str, high: str) -> tuple[NDArray[Any], str]:
    bounds = integer_range(spec.dtype)
    if bounds is not None:
        ends = [_integer(spec, end, bounds) for end in (low, high)]
        return _random_integers(spec, *ends), f"random integers {ends[0]}..{ends[1]}"
    if spec.dtype == "bool":
        raise _unsuited(spec, text, "true or false")
    return _random_reals(spec, float(low), float(high)), f"random in [{low}, {high})"


def _integer(spec: TensorSpec, text: str, bounds: tuple[int, int]) -> int:
    low, high = bounds
    if not _INTEGER.fullmatch(text) or len(text) > 30 or not low <= int(text) <= high:
        raise _unsuited(spec, text, f"an integer in {low}..{high}")
    return int(text)


def _from_file(spec: TensorSpec, path: str) -> NDArray[Any]:
    """The array of a file, of the input's own type where it keeps its values."""
    array = load(path)
    if array.shape != spec.shape:
        raise InputError(f"{path}: {join(array.shape)}, but input {spec.name!r} is {join(spec.shape)}")
    if (array.dtype.kind in "US") != (spec.dtype == STRING):
        raise InputError(f"{path}: {array.dtype}, but input {spec.name!r} is {spec.dtype}")
    if spec.dtype == STRING:
        texts = np.char.decode(array, errors="replace") if array.dtype.kind == "S" else array
        return texts.astype(object)
    if not _can_hold(spec.dtype, array):
        raise InputError(f"{path}: {array.dtype}, which input {spec.name!r} ({spec.dtype}) cannot hold as it is")
    return array.astype(numpy_dtype(spec.dtype), order="C")


def _can_hold(dtype: str, array: NDArray[Any]) -> bool:
    """True where a type has the numbers of an array; reals are rounded."""
    bounds = integer_range(dtype)
    if bounds is not None:
        fits = not array.size or (bounds[0] <= array.min() and array.max() <= bounds[1])
        return array.dtype.kind in "biu" and bool(fits)
    if dtype == "bool":
        return array.dtype.kind == "b"
    return array.dtype.kind != "c" or dtype.startswith("complex")


def _unsuited(spec: TensorSpec, text: str, wanted: str) -> InputError:
    return InputError(f"--input {spec.name}={text}: input {spec.name!r} is {spec.dtype}; give it {wanted}")
