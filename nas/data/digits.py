"""A harder set made from scikit-learn's digits: real handwriting, on cluttered, noisy canvases.

The 1,797 originals (8×8, UCI optical recognition of handwritten digits) saturate: any small network reads them. So
each is placed on a 64×64 canvas under a random affine map, in random colours, over clutter cut from other
originals, with noise. Everything follows from one seed; training, validation and test use different originals.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas.data.dataset import Dataset

SIZE = 64
ORIGINAL = 8
SPLITS = {"train": (0, 1197), "val": (1197, 1497), "test": (1497, 1797)}
COUNTS = {"train": 9_000, "val": 2_400, "test": 2_400}
PIECES, PIECE = 10, 4
CHUNK = 100
MEAN, STD = 0.4, 0.25

Images = NDArray[np.float32]


@lru_cache(maxsize=4)
def load_digits(split: str, folder: Path | None = None, seed: int = 0) -> Dataset:
    """The images of a split, ``(n, 3, 64, 64)`` normalised float32, and their labels ``(n,)`` 0 … 9.

    Raises:
        InputError: a folder was named, and there is nothing to read from one.
    """
    if folder is not None:
        raise InputError(f"digits are made, not read: no folder, not {folder}")
    originals, labels = _originals(split)
    offset = list(SPLITS).index(split)
    generator = np.random.default_rng([seed, offset])
    count = COUNTS[split]
    order = np.concatenate([generator.permutation(len(originals)) for _ in range(count // len(originals) + 1)])
    chosen = order[:count]
    images = np.concatenate([_render(originals, chosen[i : i + CHUNK], generator) for i in range(0, count, CHUNK)])
    return Dataset(
        name="digits",
        images=(images - np.float32(MEAN)) / np.float32(STD),
        labels=labels[chosen],
        classes=tuple("0123456789"),
        mean=(MEAN,) * 3,
        std=(STD,) * 3,
    )


def _originals(split: str) -> tuple[Images, NDArray[np.int64]]:
    """Strokes ``(n, 8, 8)`` in 0 … 1 and labels of a split; the order is fixed, whatever the seed."""
    from sklearn.datasets import load_digits as load_originals

    bunch = load_originals()
    order = np.random.default_rng(1797).permutation(len(bunch.target))
    first, last = SPLITS[split]
    part = order[first:last]
    return (bunch.images[part] / 16).astype(np.float32), bunch.target[part].astype(np.int64)


def _render(originals: Images, chosen: NDArray[np.int64], generator: np.random.Generator) -> Images:
    """``(n, 3, 64, 64)`` in 0 … 1: a bright digit over duller litter on a darker, shaded, tinted ground."""
    n = len(chosen)
    digit = _place(originals[chosen], generator, scale=(4.0, 6.0), shift=7.0)
    litter = _place(_litter(originals, n, generator), generator, scale=(2.5, 4.0), shift=4.0)
    ground = _uniform(generator, 0.1, 0.4, (n, 3, 1, 1))
    ink = ground + _uniform(generator, 0.3, 0.6, (n, 1, 1, 1))
    stain = ground + _uniform(generator, -0.1, 0.25, (n, 1, 1, 1))
    image = ground + _shading(generator, n)
    image = image + litter[:, None] * (stain - image)
    image = image + digit[:, None] * (ink - image)
    noise = _uniform(generator, 0.02, 0.12, (n, 1, 1, 1))
    image += noise * generator.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1, out=image)


def _litter(originals: Images, n: int, generator: np.random.Generator) -> Images:
    """``(n, 24, 24)``: 4×4 pieces of strokes, scattered."""
    litter = np.zeros((n, 3 * ORIGINAL, 3 * ORIGINAL), np.float32)
    which = np.arange(n)[:, None, None]
    window = np.arange(PIECE)
    for _ in range(PIECES):
        source = originals[generator.integers(len(originals), size=n)]
        top, left = generator.integers(0, ORIGINAL - PIECE + 1, (2, n, 1, 1))
        piece = source[which, top + window[:, None], left + window]
        top, left = generator.integers(0, 3 * ORIGINAL - PIECE + 1, (2, n, 1, 1))
        litter[which, top + window[:, None], left + window] = piece
    return litter


def _uniform(generator: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> Images:
    return generator.uniform(low, high, shape).astype(np.float32)


def _shading(generator: np.random.Generator, n: int) -> Images:
    """A slow gradient across the canvas."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    slope = _uniform(generator, -0.15, 0.15, (2, n, 1, 1, 1))
    shade: Images = slope[0] * axis[:, None] + slope[1] * axis
    return shade


def _place(strokes: Images, generator: np.random.Generator, scale: tuple[float, float], shift: float) -> Images:
    """``(n, 64, 64)``: each stroke image ``(n, s, s)`` under a random affine map, sampled bilinearly.

    ``scale``: canvas pixels for a stroke pixel; ``shift``: largest distance of the centre, in canvas pixels.
    """
    n, side, _ = strokes.shape
    angle, shear = generator.uniform(-0.35, 0.35, n), generator.uniform(-0.2, 0.2, n)
    zoom = _uniform(generator, *scale, (n,))
    rotation = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(n, 2, 2)
    skew = np.stack([np.ones(n), shear, np.zeros(n), np.ones(n)], -1).reshape(n, 2, 2)
    inverse = (rotation @ skew / zoom[:, None, None]).astype(np.float32)
    centre = _uniform(generator, -shift, shift, (n, 2, 1, 1)) + np.float32((SIZE - 1) / 2)
    grid = np.mgrid[:SIZE, :SIZE].astype(np.float32) - centre
    points = np.einsum("nij,njhw->inhw", inverse, grid) + np.float32((side - 1) / 2)
    return _bilinear(strokes, points[0], points[1])


def _bilinear(images: Images, row: Images, column: Images) -> Images:
    """Values of ``images (n, s, s)`` at points ``(n, h, w)`` in pixels; zero outside."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    side = padded.shape[-1]
    row, column = (np.clip(axis + np.float32(1), np.float32(0), np.float32(side - 1.001)) for axis in (row, column))
    top, left = row.astype(np.int32), column.astype(np.int32)
    fr, fc = row - np.floor(row), column - np.floor(column)
    first = top * side + left + (np.arange(len(images), dtype=np.int32) * side**2)[:, None, None]
    flat = padded.ravel()
    upper = flat[first] * (1 - fc) + flat[first + 1] * fc
    lower = flat[first + side] * (1 - fc) + flat[first + side + 1] * fc
    values: Images = upper * (1 - fr) + lower * fr
    return values
