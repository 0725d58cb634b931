"""Concrete shapes of a model's inputs: what the model leaves open is filled from what the user says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netdyno.base.artifact import TensorSpec
from netdyno.base.errors import InputError
from netdyno.devices.types import require_feedable, size_of
from netdyno.devices.wire import MAX_RANK

MAX_INPUT_BYTES = 1 << 30
EXAMPLE_SIDE = 128

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Declared:
    """An input as a model declares it; sides are numbers, symbols or None (open), and None where any rank fits."""

    name: str
    sides: tuple[int | str | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        return "of any rank" if self.sides is None else join(self.sides)


def declared(name: str, sides: Sequence[Any] | None, dtype: str) -> Declared:
    """An input from what a runtime tells of it; negative numbers and empty symbols are open."""
    if sides is None:
        return Declared(name, None, dtype)
    return Declared(name, tuple(_side(side) for side in sides), dtype)


def _side(side: Any) -> int | str | None:
    if isinstance(side, str):
        return side or None
    return side if isinstance(side, int) and side >= 0 else None


def join(sides: Sequence[int | str | None]) -> str:
    """Sides for people: ``1x3x224``."""
    return "x".join("?" if side is None else str(side) for side in sides) or "a scalar"


def concrete(
    inputs: Sequence[Declared], shapes: Shapes, dimensions: Mapping[str, int] | None = None
) -> tuple[TensorSpec, ...]:
    """The inputs' specs, open sides filled from ``shapes`` by name and ``dimensions`` by symbol.

    A symbol is also known where a shape gives it. A first side that nothing tells is 1.

    Raises:
        InputError: two inputs have one name, a shape is missing or contradicts the model, a type cannot be fed.
    """
    twice = [name for name, count in Counter(each.name for each in inputs).items() if count > 1]
    if twice:
        raise InputError(f"two of its inputs have the same name: {', '.join(twice)}")
    for name in shapes:
        if name not in {each.name for each in inputs}:
            raise InputError(f"it has no input {name!r}; its inputs: {', '.join(e.name for e in inputs) or 'none'}")
    for each in inputs:
        require_feedable(each.name, each.dtype)
        _require_fitting(each, shapes)
    known = _symbols(inputs, shapes) | dict(dimensions or {})
    filled = {each.name: shapes.get(each.name) or _filled(each, known, shapes) for each in inputs}
    still_open = [each for each in inputs if filled[each.name] is None]
    if still_open:
        raise InputError(_question(still_open))
    return tuple(_spec(each, filled[each.name] or ()) for each in inputs)


def _require_fitting(each: Declared, shapes: Shapes) -> None:
    given = shapes.get(each.name)
    if given is None or each.sides is None:
        return
    pairs = zip(each.sides, given, strict=False)
    if len(given) != len(each.sides) or any(isinstance(side, int) and side != own for side, own in pairs):
        raise InputError(f"input {each.name!r} is {each} in the model, not {join(given)}")


def _symbols(inputs: Sequence[Declared], shapes: Shapes) -> dict[str, int]:
    """Symbols that the given shapes agree on."""
    found: dict[str, set[int]] = {}
    for each in inputs:
        for side, own in zip(each.sides or (), shapes.get(each.name, ()), strict=False):
            if isinstance(side, str):
                found.setdefault(side, set()).add(own)
    return {symbol: next(iter(sizes)) for symbol, sizes in found.items() if len(sizes) == 1}


def _filled(each: Declared, known: Mapping[str, int], shapes: Shapes) -> tuple[int, ...] | None:
    """The shape as far as it is known; None if a side is not."""
    if each.name in shapes:  # of a scalar, which is as empty as none
        return shapes[each.name]
    if each.sides is None:
        return None
    sides = [known.get(side) if isinstance(side, str) else side for side in each.sides]
    if sides and sides[0] is None:
        sides[0] = 1
    return None if None in sides else tuple(side for side in sides if side is not None)


def _question(still_open: Sequence[Declared]) -> str:
    """All open inputs in one line, with options that would close them."""
    told = ", ".join(f"{each.name!r} is open ({each})" for each in still_open)
    sides = [side for each in still_open for side in (each.sides or ())[1:]]
    symbols = dict.fromkeys(side for side in sides if isinstance(side, str) and _can_be_typed(side))
    answers = [f"--dim {symbol}={EXAMPLE_SIDE}" for symbol in symbols]
    nameless = [
        each
        for each in still_open
        if each.sides is None or any(_is_open(side) and side not in symbols for side in each.sides[1:])
    ]
    answers += [f"--input-shape {each.name}:{_example(each)}" for each in nameless]
    return f"the shape of input {told}; give it, as in {' '.join(answers)}"


def _is_open(side: int | str | None) -> bool:
    return not isinstance(side, int)


def _can_be_typed(symbol: str) -> bool:
    return all(letter.isalnum() or letter in "_.-" for letter in symbol)


def _example(each: Declared) -> str:
    sides = (1, EXAMPLE_SIDE) if each.sides is None else each.sides
    return join([1 if at == 0 and _is_open(s) else EXAMPLE_SIDE if _is_open(s) else s for at, s in enumerate(sides)])


def _spec(each: Declared, shape: tuple[int, ...]) -> TensorSpec:
    if len(shape) > MAX_RANK or math.prod(shape) * size_of(each.dtype) > MAX_INPUT_BYTES:
        raise InputError(f"input {each.name!r} is too large: {join(shape)}")
    if any(side > np.iinfo(np.int32).max for side in shape):
        raise InputError(f"input {each.name!r} is too large: {join(shape)}")
    return TensorSpec(each.name, shape, each.dtype)
