"""JSON documents that anybody may have written: bounded in length and depth, and of a schema that is known here.

A document may hold a digest of itself, under :data:`SEAL`, by which its reader sees that it was changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from netdyno.base.errors import InputError
from netdyno.base.files import read_bytes

LARGEST_DOCUMENT = 4 * 2**20
DEEPEST = 64
"""Levels of nesting that a document may have; Python's own writer fails at about a thousand."""
MOST_VALUES = 4_000_000
"""Values in a document: each takes up to a hundred bytes of memory, and three in the file."""
SEAL = "seal"
"""The key of a document's digest of itself."""
_SEAL = re.compile(r"sha256 of the rest: [0-9a-f]{64}")


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a digest of all else in it; raises as :func:`json.dumps` does."""
    return {**document, SEAL: _seal_of(json.loads(json.dumps(document)))}


def is_as_sealed(document: Mapping[str, Any]) -> bool:
    """True where a document, as it was read, is what was written, or has no seal, as those of earlier versions."""
    # A seal is known by its text too: damage to its key must not make it look like no seal.
    if SEAL in document or any(isinstance(each, str) and _SEAL.fullmatch(each) for each in document.values()):
        return document.get(SEAL) == _seal_of(document)
    return True


def _seal_of(document: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in document.items() if name != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return f"sha256 of the rest: {hashlib.sha256(text.encode()).hexdigest()}"


def read_document(
    path: Path, most_bytes: int = LARGEST_DOCUMENT, *, follow_links: bool = True, strict: bool = False
) -> dict[str, Any]:
    """The JSON object that a file holds; for ``strict`` see :func:`parse_json`.

    Raises:
        InputError: as of :func:`netdyno.base.files.open_regular`, not JSON, too deeply nested, or not an object.
    """
    document = parse_json(read_bytes(path, most_bytes, follow_links=follow_links), str(path), strict=strict)
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a JSON object")
    return document


def parse_json(content: bytes, source: str, *, strict: bool = False, unique: bool = False) -> Any:
    """The JSON value in ``content``, UTF-8; ``source`` names it in messages.

    What Python's reader takes beyond JSON, NaN and infinities, is let through unless ``strict``; of two values of one
    name in an object the last counts, unless names must be ``unique``.

    Raises:
        InputError: not JSON, too deeply nested, of too many values, or a name that stands there twice.
    """
    if sum(content.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES:
        raise InputError(f"{source}: holds more than {MOST_VALUES} values, which no such file does")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            name = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise InputError(f"{source}: {name!r:.80} stands there twice")
        return found

    try:
        value = json.loads(
            content.decode(),
            parse_constant=_no_constant if strict else None,
            object_pairs_hook=once if unique else None,
        )
    except RecursionError:
        raise InputError(f"{source}: nested too deeply for such a file") from None
    except ValueError as error:
        raise InputError(f"{source}: not a JSON document in UTF-8: {error}") from error
    _require_shallow(value, source)
    return value


def require_schema(document: dict[str, Any], source: object, known: int) -> None:
    """Make sure that this netdyno knows the schema that a document says it has; one that says none is of the first.

    Raises:
        InputError: a newer netdyno wrote it, or what it says is no schema.
    """
    schema = document.get("schema", 1)
    if type(schema) is not int or schema < 1:
        raise InputError(f"{source}: its schema is {schema!r:.40}, which is no number from 1 on")
    if schema > known:
        raise InputError(
            f"{source}: its schema is {schema}, and this netdyno reads up to {known}: a newer one wrote it"
        )


def _require_shallow(value: Any, source: str) -> None:
    """Refuse what can be parsed and not be written again."""
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            raise InputError(f"{source}: nested more than {DEEPEST} levels deep, as no such file is")
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
