"""Where the channels are: a graph's activations are NCHW, a TFLite file's NHWC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from netdyno.base.artifact import TensorSpec

NHWC_FORMATS = frozenset({"tflite"})


def layout(format: str) -> str:
    """``NHWC`` or ``NCHW``: how a format's files lay out four-dimensional activations."""
    return "NHWC" if format in NHWC_FORMATS else "NCHW"


def nhwc_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``(n, c, h, w)`` to ``(n, h, w, c)``; any other rank stays as it is."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else shape


def spec_in(spec: TensorSpec, format: str) -> TensorSpec:
    """An NCHW tensor's spec as a format's files have it."""
    return replace(spec, shape=nhwc_shape(spec.shape)) if layout(format) == "NHWC" else spec


def to_format(tensors: Mapping[str, NDArray[Any]], format: str) -> dict[str, NDArray[Any]]:
    """NCHW tensors in the layout of a format's files."""
    return _transposed(tensors, format, (0, 2, 3, 1))


def from_format(tensors: Mapping[str, NDArray[Any]], format: str) -> dict[str, NDArray[Any]]:
    """Tensors of a format's file, back in NCHW."""
    return _transposed(tensors, format, (0, 3, 1, 2))


def _transposed(
    tensors: Mapping[str, NDArray[Any]], format: str, axes: tuple[int, int, int, int]
) -> dict[str, NDArray[Any]]:
    moves = layout(format) == "NHWC"
    return {
        name: tensor.transpose(axes).copy() if moves and tensor.ndim == 4 else tensor
        for name, tensor in tensors.items()
    }
