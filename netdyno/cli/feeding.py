"""``--input-shape``, ``--dim``, ``--input`` and ``--signature``: which model each is for, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netdyno.cli.console import print_table

if TYPE_CHECKING:
    from netdyno.base.artifact import Artifact, Feeding
    from netdyno.devices.inputs import FedInput
    from netdyno.devices.shapes import Declared

LARGEST_DIMENSION = 2**31 - 1
_DIMENSION = re.compile(r"(?P<symbol>.+)=(?P<size>[0-9]{1,10})", re.DOTALL)


@dataclass(frozen=True)
class Choices:
    """The user's choices of inputs, as they were typed."""

    shapes: Sequence[str] = ()
    dimensions: Sequence[str] = ()
    values: Sequence[str] = ()
    signature: str = ""

    def __bool__(self) -> bool:
        return bool(self.shapes or self.dimensions or self.values or self.signature)


def choose(artifacts: Sequence[Artifact], choices: Choices) -> list[Artifact]:
    """The models with what was said of their inputs, each with its own part; all of it is checked here.

    Raises:
        InputError: a choice cannot be understood, is made twice, suits no model, or leaves a shape open.
    """
    from netdyno.devices.feeding import declared_inputs, feed

    if not choices:
        return list(artifacts)
    signed = _with_signature(artifacts, choices.signature)
    declared = [declared_inputs(artifact) for artifact in signed]
    everything = _parsed(choices, declared)
    chosen = [
        artifact.with_feeding(_own(everything, inputs, artifact.feeding.signature))
        for artifact, inputs in zip(signed, declared, strict=True)
    ]
    for artifact, inputs in zip(chosen, declared, strict=True):
        if inputs:
            feed(artifact, [(each.name, each.sides, each.dtype) for each in inputs])
    return chosen


def _with_signature(artifacts: Sequence[Artifact], name: str) -> list[Artifact]:
    """The models with a signature chosen where they have it."""
    from netdyno.base.artifact import Feeding
    from netdyno.base.errors import InputError, UnknownName
    from netdyno.devices.tflite_inputs import signatures

    if not name:
        return list(artifacts)
    known = {place: signatures(own) for place, own in enumerate(artifacts) if own.format == "tflite"}
    if not known:
        raise InputError("--signature is for TFLite models")
    if not any(name in own for own in known.values()):
        raise UnknownName("signature", name, {each for own in known.values() for each in own})
    return [
        artifact.with_feeding(Feeding(signature=name)) if name in known.get(place, {}) else artifact
        for place, artifact in enumerate(artifacts)
    ]


def _parsed(choices: Choices, declared: Sequence[Sequence[Declared]]) -> Feeding:
    """All that was said, whatever model it is for."""
    from netdyno.base.artifact import Feeding
    from netdyno.base.errors import InputError
    from netdyno.base.units import parse_shape
    from netdyno.devices.inputs import require_value

    names = {each.name for inputs in declared for each in inputs}
    symbols = {side for inputs in declared for each in inputs for side in each.sides or () if isinstance(side, str)}
    told = all(declared)  # what a damaged model has is not known; its runtime will refuse it
    shapes = []
    for text in choices.shapes:
        name, shape = parse_shape(text)
        if name is None:
            raise InputError(
                f"--input-shape {text}: name the input, as in {next(iter(sorted(names)), 'input')}:{text}"
            )
        shapes.append((name, shape))
    dimensions = [_dimension(text) for text in choices.dimensions]
    values = [_assignment(text, names) for text in choices.values]
    for option, given, known, kind in (
        ("--input-shape", shapes, names, "input"),
        ("--dim", dimensions, symbols, "dimension"),
        ("--input", values, names, "input"),
    ):
        _require_known(option, [name for name, _ in given], known if told else None, kind)
    for name, value in values:
        require_value(name, value)
    return Feeding(tuple(shapes), tuple(dimensions), tuple(values))


def _dimension(text: str) -> tuple[str, int]:
    from netdyno.base.errors import InputError

    match = _DIMENSION.fullmatch(text)
    if not match or int(match["size"]) > LARGEST_DIMENSION:
        raise InputError(f"--dim {text}: not a dimension; write it like batch=1")
    return match["symbol"], int(match["size"])


def _assignment(text: str, names: Iterable[str]) -> tuple[str, str]:
    """Name and value of ``NAME=VALUE``; names may contain a ``=`` themselves."""
    from netdyno.base.errors import InputError

    fitting = [name for name in names if text.startswith(f"{name}=")]
    name = max(fitting, key=len) if fitting else text.partition("=")[0]
    value = text[len(name) + 1 :]
    if not name or (not value and not text.endswith("=")):
        raise InputError(f"--input {text}: write it like NAME=0.5, NAME=0..9 or NAME=values.npy")
    return name, value


def _require_known(option: str, given: Sequence[str], known: Iterable[str] | None, kind: str) -> None:
    from netdyno.base.errors import InputError

    for name in given:
        if given.count(name) > 1:
            raise InputError(f"{option}: {name!r} is given twice")
        if known is not None and name not in known:
            told = ", ".join(sorted(known)) or f"it has no {kind} of a name"
            raise InputError(
                f"{option}: no model has {'an' if kind == 'input' else 'a'} {kind} {name!r}; known: {told}"
            )


def _own(everything: Feeding, inputs: Sequence[Declared], signature: str) -> Feeding:
    """The part that is for a model with these inputs; all of it where they are not known."""
    from netdyno.base.artifact import Feeding

    names = {each.name for each in inputs}
    symbols = {side for each in inputs for side in each.sides or () if isinstance(side, str)}

    def part(pairs: Iterable[tuple[str, Any]], known: set[str]) -> tuple[tuple[str, Any], ...]:
        return tuple(pair for pair in pairs if not inputs or pair[0] in known)

    return Feeding(
        part(everything.shapes, names),
        part(everything.dimensions, symbols),
        part(everything.values, names),
        signature,
    )


def print_inputs(told: Mapping[str, Sequence[FedInput]]) -> None:
    """Print the inputs that models were fed, by the models' names."""
    from netdyno.devices.shapes import join

    rows = []
    for model, inputs in told.items():
        rows += [(model, own.name, f"{own.dtype} {join(own.shape)}", own.values) for own in inputs]
    if rows:
        several = len(told) > 1
        heads = ("model", "input", "type and shape", "fed")
        print_table(heads if several else heads[1:], [row if several else row[1:] for row in rows])
