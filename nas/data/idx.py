"""The idx format that MNIST is published in: a magic number, sizes, and bytes. Plain or gzipped.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import ExitStack
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.files import is_there, open_regular

UNSIGNED_BYTES = 0x08
MOST = 2**27
"""Bytes of images, three times as many as MNIST has; twelve times as many are taken in memory."""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of a file that has that many dimensions; ``path`` or, where there is none, ``path`` with ``.gz``.

    Raises:
        InputError: neither is there or can be read, or it is not idx, of another kind, or of another length.
    """
    zipped = path.with_name(f"{path.name}.gz")
    found = path if is_there(path) or not is_there(zipped) else zipped
    try:
        with ExitStack() as stack:
            plain = stack.enter_context(open_regular(found, 2 * MOST))
            file = stack.enter_context(gzip.open(plain)) if found == zipped else plain
            head = file.read(4 + 4 * dimensions)
            sizes = _sizes(found, head, dimensions)
            body = file.read(prod(sizes) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{found}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(body) != prod(sizes):
        raise InputError(f"{found}: says {sizes} bytes, and has {'more' if len(body) > prod(sizes) else len(body)}")
    return np.frombuffer(body, np.uint8).reshape(sizes)


def _sizes(path: Path, head: bytes, dimensions: int) -> tuple[int, ...]:
    if head[:4] != bytes([0, 0, UNSIGNED_BYTES, dimensions]) or len(head) != 4 + 4 * dimensions:
        raise InputError(f"{path}: not an idx file of unsigned bytes in {dimensions} dimensions")
    sizes = tuple(np.frombuffer(head[4:], ">u4").tolist())
    if not 0 < prod(sizes) <= MOST:
        raise InputError(f"{path}: says {sizes} bytes")
    return sizes
