"""Model files of others, with the weights that they keep beside them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from netdyno.base.artifact import Artifact, ModelFile, read_artifact, require_regular
from netdyno.base.errors import InputError, ModelError
from netdyno.devices.onnx_outline import outline

_EXTERNAL = b"location"
LARGEST_BYTES = 2**31 - 1


def read_model(path: Path) -> Artifact:
    """A model file where it lies, with the files of its external data; links are followed.

    Raises:
        InputError: no such file, or of another format.
        ModelError: its external data is missing, or lies outside its folder by its own text.
    """
    artifact = read_artifact(path)
    if artifact.format != "onnx" or not _mentions(path, _EXTERNAL):
        return artifact
    try:
        model = outline(artifact)
    except ModelError:
        return artifact  # the runtime says what is wrong with it
    places = {place: _beside(path, place) for tensor in _tensors(model.graph) if (place := _location(tensor))}
    if not places:
        return artifact
    file = OnnxFile(path.absolute(), tuple(dict.fromkeys(places.values())), _moved(path, model, places))
    return Artifact(file, artifact.format, artifact.name)


@dataclass(frozen=True)
class OnnxFile(ModelFile):
    """An ONNX file with external data."""

    def read(self) -> bytes:
        """The model with its external data in it.

        Raises:
            InputError: a file cannot be read.
            ModelError: that makes it larger than such a file can be.
        """
        import onnx

        if self.size > LARGEST_BYTES:
            text = f"{self.path}: with its external data it is larger than 2 GB, which only this machine's CPU takes"
            raise ModelError(text, artifact=self.path.stem)
        model = onnx.load_model(str(self.path), load_external_data=False)
        for tensor in _tensors(model.graph):
            if place := _location(tensor):
                tensor.raw_data = _content(self.path, place, tensor)
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
        data: bytes = model.SerializeToString()
        return data


def _mentions(path: Path, word: bytes) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(word) >= 0
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", artifact=str(path)) from error


def _tensors(graph: Any, depth: int = 0) -> Iterator[Any]:
    """Tensors of a graph, of its nodes' attributes, and of the graphs in them."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs) if depth < 20 else ():
                yield from _tensors(inner, depth + 1)


def _entries(tensor: Any) -> dict[str, str]:
    import onnx

    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    return {entry.key: entry.value for entry in tensor.external_data} if external else {}


def _location(tensor: Any) -> str:
    return _entries(tensor).get("location", "")


def _beside(path: Path, place: str) -> Path:
    """The file of a location.

    Raises:
        ModelError: the location leads out of the model's folder, or there is no file.
    """
    outside = PurePosixPath(place).is_absolute() or PureWindowsPath(place).drive or ".." in PurePosixPath(place).parts
    if outside or ".." in PureWindowsPath(place).parts or "\0" in place:
        raise ModelError(f"{path}: its external data lies outside its folder: {place}", artifact=path.stem)
    found = path.absolute().parent / place
    try:
        require_regular(found)
    except InputError as error:
        raise ModelError(f"{path}: its external data cannot be read: {error}", artifact=path.stem) from error
    return found


def _moved(path: Path, model: Any, places: dict[str, Path]) -> bytes:
    """The model with locations from the root folder, if links lead where the runtime would not follow; else nothing.

    ONNX Runtime takes what really lies in the model's folder, as it is called or as it really is.
    """
    folders = (path.absolute().parent.resolve(), path.resolve().parent)
    real = {place: found.resolve() for place, found in places.items()}
    if all(any(file.is_relative_to(folder) for folder in folders) for file in real.values()):
        return b""
    import onnx

    model = onnx.load_model(str(path), load_external_data=False)
    for tensor in _tensors(model.graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = str(real[entry.value].relative_to("/"))
    data: bytes = model.SerializeToString()
    return data


def _content(path: Path, place: str, tensor: Any) -> bytes:
    entries = _entries(tensor)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        with _beside(path, place).open("rb") as file:
            file.seek(offset)
            data = file.read(length if length >= 0 else -1)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: its external data cannot be read: {error}", artifact=path.stem) from error
    if 0 <= length != len(data):
        raise ModelError(f"{path}: its external data ends too soon: {place}", artifact=path.stem)
    return data
