"""Rows for layers at sizes between measured ones: straight lines over the number of pixels.

A layer's work grows with its pixels, so between two measured sizes of the same layer its cost lies near the line
through them. Beyond the measured sizes nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

import pandas as pd

from netdyno.profiler.layers import Layer
from netdyno.profiler.table import RowName, parse_row

Family = tuple[object, ...]


def between_rows(rows: pd.DataFrame, layers: Iterable[Layer], columns: Sequence[str]) -> pd.DataFrame:
    """Rows of ``columns`` for those of ``layers`` that ``rows`` lacks but has at a smaller and a larger size."""
    families: dict[Family, dict[int, str]] = {}
    for key in map(str, rows.index):
        name = parse_row(key)
        if name == RowName(name.layer):
            families.setdefault(_family(name.layer), {})[_pixels(name.layer)] = key
    found: dict[str, list[float]] = {}
    for layer in layers:
        sizes = families.get(_family(layer), {})
        pixels = _pixels(layer)
        lower, upper = _around(sizes, pixels)
        if layer.key not in rows.index and lower and upper:
            share = (pixels - lower) / (upper - lower)
            ends = rows.loc[[sizes[lower], sizes[upper]], list(columns)].to_numpy(float)
            found[layer.key] = ((1 - share) * ends[0] + share * ends[1]).tolist()
    return pd.DataFrame.from_dict(found, orient="index", columns=list(columns), dtype=float)


def _around(sizes: Iterable[int], pixels: int) -> tuple[int, int]:
    """The nearest smaller and larger size, 0 where there is none."""
    lower = max((size for size in sizes if size < pixels), default=0)
    return lower, min((size for size in sizes if size > pixels), default=0)


def _pixels(layer: Layer) -> int:
    _, _, height, width = layer.input_shape
    return height * width


def _family(layer: Layer) -> Family:
    """What layers have in common that differ in nothing but height and width."""
    own = ((field.name, getattr(layer, field.name)) for field in fields(layer) if field.name not in ("h", "w"))
    return (layer.kind, *own)
