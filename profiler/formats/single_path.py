"""Single-Path NAS's runtime model: JSON, latency in ms by layer number and option.

``{"1": {"0": 4.49, "1": 9.2, …}, …}``: options 0 to 3 are kernel 3 with expansion 3, kernel 3 with 6, kernel 5 with
3, kernel 5 with 6. Layers 1 to 20 are those that are searched; the first and the last block, stem and head are one
constant of the published model, as is what a skipped layer takes. Layers of one shape were measured at each of their
places, so a row is for one place. Source: Stamoulis et al. 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netdyno.base.errors import InputError
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import as_mapping, as_number, read_json
from netdyno.profiler.formats.rows import latency_row, left_out
from netdyno.profiler.layers import MBConv, Skip
from netdyno.profiler.table import LookupTable, make_rows

OPTIONS = {"0": (3, 3), "1": (3, 6), "2": (5, 3), "3": (5, 6)}
"""Kernel and expansion by the option's name in the file."""
STAGES = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2))
"""Channels and first stride of the five stages of four searched layers."""
STAGE_LAYERS = 4
FIRST_SIDE, FIRST_CHANNELS = 112, 16
FIRST_PLACE = 2
"""Stem and first block stand before the searched layers."""
CONSTANT_MS, SKIP_MS = 19.5999, 0.7


def searched_layers() -> Iterator[dict[str, MBConv]]:
    """The layers of each option's name, for the twenty searched places in order."""
    side, cin = FIRST_SIDE, FIRST_CHANNELS
    for cout, first_stride in STAGES:
        for place in range(STAGE_LAYERS):
            stride = 1 if place else first_stride
            skip = int(place > 0)
            yield {
                option: MBConv(side, side, cin, cout, cin * expansion, kernel, stride, "relu", 0, skip)
                for option, (kernel, expansion) in OPTIONS.items()
            }
            side, cin = -(-side // stride), cout


def read_single_path_json(path: Path, choice: Choice) -> LookupTable:
    """The searched layers as a table, a row for each at its place.

    Raises:
        InputError: not such a file.
    """
    choice.forbid(path)
    content = read_json(path)
    rows = {
        f"{layer.key}#{FIRST_PLACE + place}": latency_row(_latency(path, content, str(1 + place), option))
        for place, layers in enumerate(searched_layers())
        for option, layer in layers.items()
    }
    rows[Skip().key] = latency_row(SKIP_MS)
    conditions = {
        "source": "dstamoulis/single-path-nas",
        "format": "single-path-json",
        "batch": 1,
        "constant_ms": CONSTANT_MS,
        **left_out(_left_out(content)),
    }
    return LookupTable(path.stem, conditions, make_rows("layer", rows))


def _left_out(content: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Layers and options that the space has none of: what they are is said nowhere in the file."""
    searched = {str(number): options for number, options in enumerate(searched_layers(), start=1)}
    for number, options in content.items():
        if number not in searched:
            yield f"layer {number}: not one of the {len(searched)} that are searched"
        else:
            yield from (f"option {option} of layer {number}" for option in options if option not in searched[number])


def _latency(path: Path, content: Any, number: str, option: str) -> float:
    try:
        value = as_mapping(path, as_mapping(path, content, "the file")[number], f"layer {number}")[option]
    except KeyError as error:
        raise InputError(f"{path}: not a Single-Path model: no layer {number} with option {option}") from error
    return as_number(path, value)
