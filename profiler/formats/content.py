"""What stands in a file that anybody may have written: text, JSON, YAML, numbers; each checked as it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from netdyno.base.documents import parse_json
from netdyno.base.errors import InputError
from netdyno.base.files import read_bytes

LARGEST_FILE = 64 * 1024 * 1024
MOST_EVENTS = 500_000
"""Names, values and brackets of a YAML file; each takes up to a kilobyte of memory."""
LARGEST_NUMBER = 1e12
"""In a file's own unit: ms would be decades, and MB still are a number of bytes that 64 bits hold."""
# Of all that YAML can say these files use text alone: no tags, no merging, and numbers are read here.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks: what PowerShell redirects into a file begins with one."""


def read_content(path: Path) -> bytes:
    """A file's bytes, if it is of a size that such files have.

    Raises:
        InputError: it cannot be read, or is larger.
    """
    return read_bytes(path, LARGEST_FILE)


def decode(content: bytes) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")


def read_decoded(path: Path) -> str:
    """A file's text.

    Raises:
        InputError: it cannot be read, is larger than such files are, or is not UTF-8.
    """
    try:
        return decode(read_content(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text file") from error


def read_json(path: Path) -> Any:
    """A file's JSON value.

    Raises:
        InputError: it cannot be read, is not JSON, larger or more deeply nested than such files are, or an object in
            it has two values of one name.
    """
    return parse_json(read_decoded(path).encode(), str(path), unique=True)


def _repeated(names: Iterable[str]) -> str:
    return Counter(names).most_common(1)[0][0][:80]


def read_yaml(path: Path, deepest: int) -> dict[str, Any]:
    """A YAML file's mapping, all its leaves text.

    Raises:
        InputError: it cannot be read, is not YAML, no mapping of names, aliased, nested deeper than ``deepest``, or
            two values in it have one name.
    """
    text = read_decoded(path)
    try:
        content = _build(path, yaml.parse(text, Loader=_LOADER), deepest)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    return as_mapping(path, content, "the file")


def _build(path: Path, events: Iterable[yaml.Event], deepest: int) -> Any:
    """The value of one document, built from its events: the library's loader takes the last of two equal keys."""
    root: list[Any] = []
    open_values: list[list[Any]] = [root]
    """Items of the sequences, and keys and values by turns of the mappings, that are open, outermost first."""
    for number, event in enumerate(events):
        if number > MOST_EVENTS:
            raise InputError(f"{path}: holds more than {MOST_EVENTS} values, which no such file does")
        if isinstance(event, yaml.AliasEvent) or len(open_values) > deepest + 1:
            raise InputError(f"{path}: nested too deeply for such a file, or aliased")
        if isinstance(event, yaml.ScalarEvent):
            open_values[-1].append(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_values.append([])
        elif isinstance(event, yaml.CollectionEndEvent):
            items = open_values.pop()
            mapping = isinstance(event, yaml.MappingEndEvent)
            open_values[-1].append(_mapping(path, items) if mapping else items)
    if len(root) != 1:
        raise ValueError(f"holds {len(root)} documents")
    return root[0]


def _mapping(path: Path, items: list[Any]) -> dict[str, Any]:
    names, values = items[::2], items[1::2]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: a name in it is no text")
    found = dict(zip(names, values, strict=True))
    if len(found) < len(names):
        raise InputError(f"{path}: {_repeated(names)!r} stands there twice")
    return found


def as_mapping(path: Path, value: Any, what: str) -> dict[str, Any]:
    """``value`` as a mapping from names.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{path}: {what} is no mapping of names")
    return value


def as_number(path: Path, value: Any) -> float:
    """``value``, a number or its text, as a float of a size that measurements have.

    Raises:
        InputError: it is none.
    """
    try:
        number = float("" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: not a number: {value!r:.80}") from None
    if not abs(number) < LARGEST_NUMBER:
        raise InputError(f"{path}: no such number: {value!r:.80}")
    return number
