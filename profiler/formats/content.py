"""What stands in a file that anybody may have written: text, JSON, YAML, numbers; each checked as it is read."""

from __future__ import annotations

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


def read_content(path: Path) -> bytes:
    """A file's bytes, if it is of a size that such files have.

    Raises:
        InputError: it cannot be read, or is larger.
    """
    return read_bytes(path, LARGEST_FILE)


def read_decoded(path: Path) -> str:
    """A file's text.

    Raises:
        InputError: it cannot be read, is larger than such files are, or is not UTF-8.
    """
    try:
        return read_content(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text file") from error


def read_json(path: Path) -> Any:
    """A file's JSON value.

    Raises:
        InputError: it cannot be read, is not JSON, or larger or more deeply nested than such files are.
    """
    return parse_json(read_content(path), str(path))


def read_yaml(path: Path, deepest: int) -> dict[str, Any]:
    """A YAML file's mapping, all its leaves text.

    Raises:
        InputError: it cannot be read, is not YAML, no mapping of names, aliased, or nested deeper than ``deepest``.
    """
    text = read_decoded(path)
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):  # its loader crashes on very deep files
            if number > MOST_EVENTS:
                raise InputError(f"{path}: holds more than {MOST_EVENTS} values, which no such file does")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > deepest or isinstance(event, yaml.AliasEvent):
                raise InputError(f"{path}: nested too deeply for such a file, or aliased")
        content = yaml.load(text, Loader=_LOADER)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    return as_mapping(path, content, "the file")


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
