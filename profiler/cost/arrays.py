"""A lookup table's rows as arrays: costs by context and layer.

Contexts are what a table tells apart: the input sizes of networks, or the places in them. A row for one counts there
before the plain row of that layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.profiler.cost.cost import Floats
from netdyno.profiler.layers import Layer, Skip
from netdyno.profiler.table import RowName, parse_row


@dataclass(frozen=True)
class CostArrays:
    """Costs and the ends of their intervals, ``(contexts, vocabulary + 1)``; the last column is an empty slot's.

    ``sizes`` says which context a network has whose first layer is this one of the vocabulary; None where contexts
    are places.
    """

    value: Floats
    low: Floats
    high: Floats
    sizes: NDArray[np.int64] | None

    def gather(self, costs: Floats, ids: NDArray[np.int64]) -> Floats:
        """What stands in ``costs``, one of these arrays, for each slot of ``ids (n, slots)``."""
        if len(costs) == 1:  # without an array of contexts this is twice as fast
            found: Floats = costs[0, ids]
        else:
            found = costs[np.arange(ids.shape[1]) if self.sizes is None else self.sizes[ids[:, :1]], ids]
        return found

    def cover(self, layers: NDArray[np.int64]) -> None:
        """Let these of the vocabulary cost nothing where they are missing."""
        for array in (self.value, self.low, self.high):
            array[:, layers] = np.nan_to_num(array[:, layers])


def arrange(rows: pd.DataFrame, vocabulary: Sequence[Layer], slots: int, columns: Sequence[str]) -> CostArrays:
    """The rows of a table as arrays for a space of so many ``slots``; ``columns`` are a cost and its interval.

    Raises:
        InputError: the table tells both sizes and places apart.
    """
    position = {layer: i for i, layer in enumerate([*vocabulary, Skip()])}
    names = [parse_row(str(key)) for key in rows.index]
    sizes = sorted({name.size for name in names if name.size is not None})
    placed = any(name.place is not None for name in names)
    if placed and sizes:
        raise InputError("the table has rows for sizes of networks and rows for places in them; one of both is known")
    contexts = slots if placed else len(sizes) + 1
    arrays = [np.full((contexts, len(position)), np.nan) for _ in range(3)]
    for array in arrays:
        array[:, -1] = 0.0
    readings = [rows[column].to_numpy(float, na_value=np.nan) for column in columns]
    # Plain rows come first, and those of a context replace them there.
    for i in sorted(range(len(names)), key=lambda i: names[i] != RowName(names[i].layer)):
        layer, size, place = names[i]
        context = sizes.index(size) if size is not None else slice(None) if place is None else place
        if layer in position and (place is None or place < slots):
            for array, reading in zip(arrays, readings, strict=True):
                array[context, position[layer]] = reading[i]
    value, low, high = arrays
    for array in (low, high):
        array[np.isnan(array)] = value[np.isnan(array)]
    by_layer = np.array([_size_index(sizes, layer) for layer in vocabulary], np.int64)
    return CostArrays(value, low, high, None if placed else by_layer)


def _size_index(known: list[int], layer: Layer) -> int:
    size: Any = layer.input_shape[-1]
    return known.index(size) if size in known else len(known)
