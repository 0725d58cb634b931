"""One operator of somebody's model: named, not described, so that profiles of whole models are tables too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar
from urllib.parse import quote, unquote

from netdyno.base.errors import InputError
from netdyno.profiler.layers.layer import Layer

TEXTS = ("type", "name")
_LONGEST = 1000


@dataclass(frozen=True)
class Operator(Layer):
    """An operator as a runtime's profile tells of it: its type, its name, and the how-``nth`` of both it is, from 0.

    Not its position: runtimes order what may run in any order anew in every process. In its key, what would not be
    part of a word is percent-encoded.
    """

    kind: ClassVar[str] = "operator"
    nth: int
    type: str
    name: str

    @cached_property
    def key(self) -> str:
        """Canonical text; :func:`netdyno.profiler.layers.parse_layer` reads it back."""
        return f"{self.kind}-nth:{self.nth}-type:{_encode(self.type)}-name:{_encode(self.name)}"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Not known; an operator is not lowered, and counts for no network of ours."""
        return (0, 0, 0, 0)

    @property
    def peak_activation_bytes(self) -> int:
        """Not known."""
        return 0


def count_operators(named: Iterable[tuple[str, str]]) -> Iterator[Operator]:
    """Operators of types and names in execution order."""
    seen: Counter[tuple[str, str]] = Counter()
    for both in named:
        yield Operator(seen[both], *both)
        seen[both] += 1


def read_text(key: str, name: str, text: str) -> str:
    """The text of a field of an operator's key.

    Raises:
        InputError: not as :class:`Operator` writes it.
    """
    try:
        value = unquote(text, errors="strict")
        if _encode(value) == text and len(value) <= _LONGEST:
            return value
    except UnicodeError:  # neither bytes that are no text nor text that has no bytes
        pass
    raise InputError(f"{key[:80]!r}: {name} is no text of an operator's key", layer=key)


def _encode(text: str) -> str:
    return quote(text, safe="/", errors="replace").replace("-", "%2D")
