"""Types of tensors that can be fed: NumPy's, those of few bits that ONNX adds, and texts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError, ModelError
from netdyno.devices.agent.work import TEXT
from netdyno.devices.wire import DTYPES

STRING = "string"
_FEW_BITS = {
    "bfloat16": ("bfloat16", 16),
    "float8e4m3fn": ("float8_e4m3fn", 17),
    "float8e4m3fnuz": ("float8_e4m3fnuz", 18),
    "float8e5m2": ("float8_e5m2", 19),
    "float8e5m2fnuz": ("float8_e5m2fnuz", 20),
    "uint4": ("uint4", 21),
    "int4": ("int4", 22),
    "float4e2m1": ("float4_e2m1fn", 23),
    "float8e8m0": ("float8_e8m0fnu", 24),
    "uint2": ("uint2", 25),
    "int2": ("int2", 26),
}
"""ONNX Runtime's names: the name in ml_dtypes, and ONNX's number."""
_BITS = {"uint4": 4, "int4": 4, "float4e2m1": 4, "uint2": 2, "int2": 2}


def require_feedable(name: str, dtype: str) -> None:
    """Make sure that an input's type can be fed.

    Raises:
        InputError: it cannot (sequences, maps, optional values, …).
    """
    if dtype not in DTYPES and dtype not in _FEW_BITS and dtype != STRING:
        raise InputError(f"input {name!r} is of a type that netdyno cannot feed: {dtype}")


def require_plain(name: str, dtype: str) -> None:
    """Make sure that a tensor is of a type that NumPy has.

    Raises:
        ModelError: it is not.
    """
    if dtype not in DTYPES:
        raise ModelError(f"tensor {name!r} is of a type that netdyno cannot feed or read here: {dtype}")


def size_of(dtype: str) -> int:
    """Bytes of an element, at least."""
    return np.dtype(dtype).itemsize if dtype in DTYPES else 1


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The type of arrays that hold such elements here."""
    if dtype == STRING:
        return np.dtype(object)
    if dtype in _FEW_BITS:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _FEW_BITS[dtype][0]))
        return found
    return np.dtype(dtype)


def integer_range(dtype: str) -> tuple[int, int] | None:
    """Least and greatest number of an integer type; None of any other."""
    if dtype in _FEW_BITS:
        bits = _BITS.get(dtype, 0)
        if "int" not in dtype:
            return None
        return (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if dtype == STRING or np.dtype(dtype).kind not in "iu":
        return None
    limits = np.iinfo(np.dtype(dtype))
    return int(limits.min), int(limits.max)


def to_wire(dtype: str, array: NDArray[Any]) -> tuple[NDArray[Any], int | None]:
    """An array as it travels, and ONNX's number of its type where NumPy lacks it (:func:`agent.work.arrays_of`)."""
    if dtype == STRING:
        text = json.dumps({"shape": array.shape, "values": array.reshape(-1).tolist()})
        return np.frombuffer(text.encode(), np.uint8), TEXT
    if dtype not in _FEW_BITS:
        return array, None
    code = _FEW_BITS[dtype][1]
    raw = np.ascontiguousarray(array).view(np.uint16 if dtype == "bfloat16" else np.uint8)
    return (_packed(raw, _BITS[dtype]) if dtype in _BITS else raw.reshape(array.shape)), code


def _packed(raw: NDArray[Any], bits: int) -> NDArray[Any]:
    """Elements of few bits in the first bytes of an array of as many, the first element lowest."""
    each = 8 // bits
    flat = raw.reshape(-1) & (2**bits - 1)
    padded = np.concatenate([flat, np.zeros(-len(flat) % each, np.uint8)]).reshape(-1, each)
    packed = np.zeros(raw.size, np.uint8)
    merged = (padded << (bits * np.arange(each, dtype=np.uint8))).sum(axis=1).astype(np.uint8)
    packed[: len(merged)] = merged
    return packed.reshape(raw.shape)
