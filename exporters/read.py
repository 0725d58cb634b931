"""Model files of others, with the weights that they keep beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netdyno.base.artifact import Artifact, read_artifact
from netdyno.base.errors import ModelError

_EXTERNAL = b"location"
LARGEST_BYTES = 2**31 - 1


def read_model(path: Path) -> Artifact:
    """A model file as one piece: an ONNX file's external data is taken into it.

    Raises:
        InputError: no such file, or of another format.
        ModelError: its external data is missing, lies outside its folder, or makes it larger than a file can be.
    """
    artifact = read_artifact(path)
    if artifact.format != "onnx" or _EXTERNAL not in artifact.data:
        return artifact
    import onnx
    from google.protobuf.message import DecodeError, EncodeError

    try:
        model = onnx.load_model(str(path))
        data = model.SerializeToString()
    except DecodeError:
        return artifact  # the runtime says what is wrong with it
    except (OSError, ValueError, EncodeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: its external data cannot be read: {error}", artifact=artifact.name) from error
    if len(data) > LARGEST_BYTES:
        raise ModelError(f"{path}: with its external data it is larger than 2 GB", artifact=artifact.name)
    return replace(artifact, data=data)
