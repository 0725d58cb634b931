"""NumPy array files (``.npy``) that somebody else wrote."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError


def parse_npy(data: bytes, path: Path) -> NDArray[Any]:
    """The array of integers or floats in a file; its size is checked before anything of that size is allocated.

    Raises:
        InputError: not such a file, or one of another size than its header says.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # NumPy evaluates the header as Python literals: a forged one can raise anything
        raise InputError(f"{path}: not a NumPy array file") from error
    if version != (1, 0) or fortran_order or dtype.kind not in "iuf":
        raise InputError(f"{path}: not an array of integers or floats in C order")
    if any(side < 1 for side in shape) or len(data) - file.tell() != dtype.itemsize * math.prod(shape):
        raise InputError(f"{path}: not as long as its header says")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)
