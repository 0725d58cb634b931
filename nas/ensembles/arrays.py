"""Named arrays in one file (``.npz``), written whole and read with mistrust."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.files import open_regular, write_atomic
from netdyno.exporters.npy import parse_npy


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an uncompressed ``.npz``, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(f"{name}.npy", content.getvalue())
    write_atomic(path, buffer.getvalue())


def read_arrays(path: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The arrays of a file, which must be these and no others.

    Raises:
        InputError: no such file, damaged, compressed, or of other arrays.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if sorted(entry.filename for entry in entries) != sorted(f"{name}.npy" for name in names):
                raise InputError(f"{path}: does not hold {', '.join(names)}")
            size = os.fstat(file.fileno()).st_size
            # What is stored as it is cannot grow beyond the file, unless entries overlap.
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > size:
                raise InputError(f"{path}: compressed arrays are not read")
            contents = {entry.filename.removesuffix(".npy"): archive.read(entry) for entry in entries}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except InputError:
        raise
    except Exception as error:  # a damaged archive makes zipfile stumble in many ways, by their own types
        raise InputError(f"{path}: not an .npz file, or a damaged one: {type(error).__name__}") from error
    return {name: parse_npy(content, path / name) for name, content in contents.items()}
