"""Layers from their keys; a key is hostile until parsed."""

from __future__ import annotations

import re
from dataclasses import fields

from netdyno.base.errors import InputError
from netdyno.profiler.layers.convnet import Dense, MaxPool, PlainConv
from netdyno.profiler.layers.fbnet import FBNetBlock
from netdyno.profiler.layers.layer import ACTIVATIONS, Layer, Overhead, Skip
from netdyno.profiler.layers.mobilenet import Conv, GlobalPool, Linear, MBConv, SeparableConv
from netdyno.profiler.layers.nasbench201 import Add, AvgPool, Norm, PreConv, PreResidual, Zero
from netdyno.profiler.layers.operator import TEXTS, Operator, read_text

_LARGEST = 10**9
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_ALL = (
    Overhead,
    Skip,
    Conv,
    SeparableConv,
    MBConv,
    GlobalPool,
    Linear,
    FBNetBlock,
    PreConv,
    PreResidual,
    AvgPool,
    Zero,
    Add,
    Norm,
    PlainConv,
    MaxPool,
    Dense,
    Operator,
)
KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in _ALL}


def parse_layer(key: str) -> Layer:
    """The layer of a key.

    Raises:
        InputError: not a key: unknown kind or field, or a value out of range.
    """
    kind, *parts = key.split("-")
    if kind not in KINDS:
        raise InputError(f"not a layer: {key!r}; kinds are {', '.join(KINDS)}", layer=key)
    layer_type = KINDS[kind]
    names = [field.name for field in fields(layer_type)]
    pairs = [part.partition(":")[::2] for part in parts]
    if [name for name, _ in pairs] != names:
        raise InputError(f"not a layer: {key!r}; {kind} has the fields {', '.join(names) or 'none'}", layer=key)
    layer = layer_type(**{name: _parse_value(key, name, text) for name, text in pairs})
    if fault := layer.fault():
        raise InputError(f"{key!r}: {fault}", layer=key)
    return layer


def _parse_value(key: str, name: str, text: str) -> int | str:
    if name == "act":
        if text not in ACTIVATIONS:
            raise InputError(f"{key!r}: act is one of {', '.join(ACTIVATIONS)}", layer=key)
        return text
    if name in TEXTS:
        return read_text(key, name, text)
    may_be_zero = name in ("se", "skip", "norm", "nth")
    largest = 1 if name in ("skip", "norm") else _LARGEST
    if not _NUMBER.fullmatch(text) or not (0 if may_be_zero else 1) <= int(text) <= largest:
        raise InputError(f"{key!r}: {name} is no valid number: {text!r}", layer=key)
    return int(text)
