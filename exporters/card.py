"""A bundle's card (``card.json``): what the model takes and makes, and the digest of every file beside it.

A card that is read may be forged: its types, sizes and file names are all checked here, once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from netdyno.base.artifact import TensorSpec
from netdyno.base.documents import SEAL, is_as_sealed, read_document, require_schema, seal
from netdyno.base.errors import InputError, VerificationError
from netdyno.base.files import open_regular
from netdyno.exporters.layout import layout

CARD = "card.json"
GOLDEN_INPUT = "golden_input.npy"
GOLDEN_OUTPUT = "golden_output.npy"
SCHEMA = 1
MOST_OUTPUTS = 9
_OWN_KEYS = frozenset({"schema", "name", "input", "output", "outputs", "files", SEAL})
_LARGEST_INTEGER = 2**31 - 1
# These names and no others: no card can point out of its folder.
_FILE_NAME = re.compile(r"model\.[a-z0-9_-]{1,32}|golden_input\.npy|golden_(output|c[1-9])\.npy")
_FEATURES = re.compile(r"c[1-9]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """A file of a bundle as the card knows it."""

    name: str
    bytes: int
    sha256: str

    @property
    def format(self) -> str | None:
        """The model's format, or None for a file that is no model."""
        kind, _, suffix = self.name.partition(".")
        return suffix if kind == "model" else None


def entry_of(name: str, data: bytes) -> FileEntry:
    """The entry of a file with that content."""
    return FileEntry(name, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Card:
    """A checked card; ``extra`` is what the exporter's caller added: normalisation, labels, readings.

    ``input`` and ``outputs`` are NCHW; the file says beside them which layout each format has. A network has one
    output, a backbone as many as there are feature maps.
    """

    name: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    files: tuple[FileEntry, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def golden_outputs(self) -> tuple[str, ...]:
        """The file that holds each output's golden values."""
        if len(self.outputs) == 1:
            return (GOLDEN_OUTPUT,)
        return tuple(f"golden_{spec.name}.npy" for spec in self.outputs)

    def _described_outputs(self, layouts: dict[str, Any]) -> dict[str, Any]:
        described = [asdict(spec) | layouts for spec in self.outputs]
        return {"output": described[0]} if len(described) == 1 else {"outputs": described}

    def to_json(self) -> str:
        """The card as indented JSON.

        Raises:
            InputError: ``extra`` is not JSON, or uses one of the card's own names.
        """
        layouts = {"layouts": {file.format: layout(file.format) for file in self.files if file.format}}
        document = {
            "schema": SCHEMA,
            "name": self.name,
            "input": asdict(self.input) | layouts,
            **self._described_outputs(layouts),
            "files": [asdict(file) for file in self.files],
        }
        if clash := sorted(_OWN_KEYS & self.extra.keys()):
            raise InputError(f"card: the bundle itself writes {', '.join(clash)}; leave it out")
        try:
            return json.dumps(seal(document | dict(self.extra)), indent=2, allow_nan=False) + "\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"card: not JSON: {error}") from error


def read_card(path: Path) -> Card:
    """Read a card and check every field of it.

    Raises:
        InputError: no card there, not JSON, or a field that is missing or malformed.
        VerificationError: it was changed since it was written.
    """
    document = read_document(path, follow_links=False, strict=True)
    require_schema(document, path, SCHEMA)
    try:
        card = _parse_card(document)
    except _Malformed as error:
        raise InputError(f"{path}: not a card: {error}") from error
    if not is_as_sealed(document):
        raise VerificationError(f"{path}: changed since it was written: not the card that its {SEAL!r} is of")
    return card


def read_checked(folder: Path, entry: FileEntry) -> bytes:
    """A file of a bundle, if it is the one that the card lists.

    Raises:
        InputError: it is not there, or not a regular file.
        VerificationError: its size or digest is not the card's.
    """
    path = folder / entry.name
    try:
        with open_regular(path, _LARGEST_INTEGER, follow_links=False) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size == entry.bytes else b""  # what cannot be the file is not read
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if entry_of(entry.name, data) != entry:
        raise VerificationError(f"{path}: not the file that the card lists: its size or sha256 differs")
    return data


class _Malformed(Exception):
    """A field of a card that is not what it should be."""


def _parse_card(document: Any) -> Card:
    fields = _object(document, "the document")
    if fields.get("schema") != SCHEMA:
        raise _Malformed(f"its schema is not {SCHEMA}, the one that this netdyno reads")
    files = fields.get("files")
    if not isinstance(files, list):
        raise _Malformed("files is not a list")
    entries = tuple(_parse_entry(file) for file in files)
    names = [entry.name for entry in entries]
    card = Card(
        name=_name(fields, "the document"),
        input=_parse_spec(fields, "input"),
        outputs=_parse_outputs(fields),
        files=entries,
        extra={key: value for key, value in fields.items() if key not in _OWN_KEYS},
    )
    golden = {GOLDEN_INPUT, *card.golden_outputs}
    models = {entry.name for entry in entries if entry.format}
    if len(set(names)) != len(names) or not models or golden != set(names) - models:
        raise _Malformed("files must list a model, the golden input and each golden output, each once")
    return card


def _parse_entry(value: Any) -> FileEntry:
    fields = _object(value, "an entry of files")
    name, size, digest = fields.get("name"), fields.get("bytes"), fields.get("sha256")
    if not (isinstance(name, str) and _FILE_NAME.fullmatch(name)):
        raise _Malformed(f"{name!r:.80} is not a file name of a bundle")
    if not _is_size(size) or not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise _Malformed(f"the size or sha256 of {name} is malformed")
    return FileEntry(name, size, digest)


def _parse_outputs(fields: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    """The output; of a backbone several, by the names of feature maps."""
    if "outputs" not in fields:
        return (_parse_spec(fields, "output"),)
    listed = fields["outputs"]
    if "output" in fields or not isinstance(listed, list) or not 2 <= len(listed) <= MOST_OUTPUTS:
        raise _Malformed(f"outputs are no list of 2 to {MOST_OUTPUTS}, and all there are")
    specs = tuple(_parse_spec({"outputs": spec}, "outputs") for spec in listed)
    if len({spec.name for spec in specs}) < len(specs) or any(not _FEATURES.fullmatch(s.name) for s in specs):
        raise _Malformed("outputs are feature maps, c2 to c5 for example, each once")
    return specs


def _parse_spec(fields: Mapping[str, Any], key: str) -> TensorSpec:
    spec = _object(fields.get(key), key)
    shape = spec.get("shape")
    if not (isinstance(shape, list) and 1 <= len(shape) <= 8 and all(_is_size(side) for side in shape)):
        raise _Malformed(f"{key}: the shape is not a list of 1 to 8 positive numbers")
    if spec.get("dtype") != "float32":
        raise _Malformed(f"{key}: the dtype is not float32")
    return TensorSpec(_name(spec, key), tuple(shape))


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Malformed(f"{what} is not an object")
    return value


def _name(fields: Mapping[str, Any], what: str) -> str:
    name = fields.get("name")
    if not (isinstance(name, str) and 1 <= len(name) <= 200 and name.isprintable()):
        raise _Malformed(f"the name of {what} is not a line of text")
    return name


def _is_size(value: Any) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= _LARGEST_INTEGER
