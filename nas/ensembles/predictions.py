"""What each subnet of a pool answers to each image: its most likely classes, nothing else.

Of a thousand classes the five likeliest decide almost every vote; kept as ``uint16`` and ``float16`` they take
a two-hundredth of the memory of all probabilities in ``float32``. OFA³ too votes on the five likeliest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.files import require_writable
from netdyno.base.progress import Progress, silent
from netdyno.nas.ensembles.arrays import read_arrays, write_arrays
from netdyno.nas.space import Population, Space, format_space

if TYPE_CHECKING:
    from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy

Precision = Literal["float16", "float32"]
ARRAYS = ("genes", "ids", "probabilities", "labels", "classes")
_PART = ("genes", "ids", "probabilities")
_MOST_CLASSES = 2**31 - 1


@dataclass(frozen=True)
class Predictions:
    """The ``k`` likeliest classes of each image by each subnet of a pool, likeliest first, of equals the lowest.

    ``X``: ``(n, genes)`` int64, canonical. ``ids``: ``(n, images, k)`` uint16, or int32 where there are more classes.
    ``probabilities``: the same shape, float16 or float32. ``labels``: ``(images,)`` int64.
    """

    X: Population
    ids: NDArray[Any]
    probabilities: NDArray[Any]
    labels: NDArray[np.int64]
    classes: int

    def __len__(self) -> int:
        return len(self.X)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        return sum(array.nbytes for array in (self.X, self.ids, self.probabilities, self.labels))

    @cached_property
    def accuracy_pct(self) -> NDArray[np.float64]:
        """Top-1 accuracy in percent of each subnet alone, ``(n,)``."""
        percent: NDArray[np.float64] = (self.ids[:, :, 0] == self.labels).mean(axis=1) * 100
        return percent

    def subset(self, rows: NDArray[np.int64]) -> Predictions:
        """The predictions of some subnets of the pool."""
        return Predictions(self.X[rows], self.ids[rows], self.probabilities[rows], self.labels, self.classes)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file that :func:`load_predictions` reads.

        Raises:
            InputError: it cannot be written.
        """
        arrays = (self.X, self.ids, self.probabilities, self.labels, np.array([self.classes]))
        write_arrays(path, dict(zip(ARRAYS, arrays, strict=True)))


def sparse(
    probabilities: NDArray[np.floating[Any]], k: int, precision: Precision = "float16"
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The ``k`` likeliest classes of ``(images, classes)`` and their probabilities, both ``(images, k)``.

    They are sorted as they are kept, after rounding, then by class: what is kept says itself which class is first.

    Raises:
        InputError: a probability is not from 0 to 1.
    """
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-5)).all():  # softmax may round up
        raise InputError("a network answers something else than probabilities from 0 to 1")
    rounded = np.minimum(probabilities, 1).astype(precision)
    ids = np.argsort(-rounded, axis=1, kind="stable")[:, :k]
    return ids.astype(_id_type(probabilities.shape[1])), np.take_along_axis(rounded, ids, axis=1)


def predict(
    evaluated: EvaluatedAccuracy,
    X: Population,
    k: int = 5,
    precision: Precision = "float16",
    parts: Path | None = None,
    progress: Progress = silent,
) -> Predictions:
    """Predictions of the architectures ``X (n, genes)`` on the data of ``evaluated``; equal ones stand there once.

    ``parts`` is a folder that keeps each subnet's predictions as they are made: the same call again, or one with more
    architectures, goes on from it.

    Raises:
        InputError: no architecture, ``k`` out of range, or a part that is damaged or cannot be written.
    """
    space, data = evaluated.supernet.space, evaluated.data
    classes = len(data.classes)
    if not 1 <= k <= classes:
        raise InputError(f"from 1 to {classes} classes of each image can be kept, not {k}")
    canonical = space.canonical(X)
    canonical = canonical[np.sort(np.unique(canonical, axis=0, return_index=True)[1])]
    if not len(canonical):
        raise InputError("a pool has at least one architecture")
    origin = None if parts is None else _origin(evaluated, k, precision)
    folder = None if parts is None else require_writable(parts)
    ids = np.empty((len(canonical), len(data), k), _id_type(classes))
    probabilities = np.empty(ids.shape, precision)
    for position, genes in enumerate(canonical):
        part = None if folder is None else folder / f"{_digest(origin, genes.astype('<i8').tobytes())[:32]}.npz"
        if part is not None and part.exists():
            ids[position], probabilities[position] = _read_part(part, genes, ids, probabilities, classes)
        else:
            found = sparse(evaluated.probabilities(genes), k, precision)
            ids[position], probabilities[position] = found
            if part is not None:
                write_arrays(part, dict(zip(_PART, (genes, *found), strict=True)))
        progress("predict", position + 1, len(canonical))
    return Predictions(canonical, ids, probabilities, data.labels, classes)


def load_predictions(path: Path, space: Space) -> Predictions:
    """Read what :meth:`Predictions.save` wrote.

    Raises:
        InputError: not such a file, of another space, or with values that no prediction has.
    """
    arrays = read_arrays(path, ARRAYS)
    genes, ids, probabilities, labels, classes = (arrays[name] for name in ARRAYS)
    if classes.shape != (1,) or classes.dtype.kind != "i" or not 1 <= classes[0] <= _MOST_CLASSES:
        raise InputError(f"{path}: does not say how many classes there are")
    count = int(classes[0])
    X = space.check(genes)
    shapes_fit = ids.ndim == 3 and ids.shape[:2] == (len(X), *labels.shape) and genes.ndim == 2
    if not shapes_fit or not len(X) or not len(labels) or (space.canonical(X) != X).any():
        raise InputError(f"{path}: its genes, predictions and labels do not belong together")
    if labels.dtype.kind != "i" or labels.min() < 0 or labels.max() >= count:
        raise InputError(f"{path}: labels must be from 0 to {count - 1}")
    _check(path, ids, probabilities, count)
    return Predictions(X, ids, probabilities, labels.astype(np.int64), count)


def _check(path: Path, ids: NDArray[Any], probabilities: NDArray[Any], classes: int) -> None:
    """Refuse what :func:`sparse` does not make."""
    if ids.dtype != _id_type(classes) or probabilities.dtype.name not in ("float16", "float32"):
        raise InputError(f"{path}: classes and probabilities are of other types than predictions have")
    if ids.shape != probabilities.shape or not 1 <= ids.shape[-1] <= classes:
        raise InputError(f"{path}: classes and probabilities do not belong together")
    if ids.min() < 0 or ids.max() >= classes or (np.diff(np.sort(ids, axis=-1).astype(np.int64), axis=-1) == 0).any():
        raise InputError(f"{path}: the classes of an image must be distinct, from 0 to {classes - 1}")
    # Probabilities that are not numbers fail these comparisons too.
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise InputError(f"{path}: probabilities must be from 0 to 1")
    falls = probabilities[..., :-1] > probabilities[..., 1:]
    same = (probabilities[..., :-1] == probabilities[..., 1:]) & (ids[..., :-1] < ids[..., 1:])
    if not (falls | same).all():
        raise InputError(f"{path}: the likeliest class of an image must stand first")


def _read_part(
    path: Path, genes: Population, ids: NDArray[Any], probabilities: NDArray[Any], classes: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """One subnet's predictions, which must fit one row of the pool's."""
    part = read_arrays(path, _PART)
    if part["ids"].shape != ids.shape[1:] or part["probabilities"].dtype != probabilities.dtype:
        raise InputError(f"{path}: holds other predictions; delete it, or choose another folder")
    if not np.array_equal(part["genes"], genes):
        raise InputError(f"{path}: holds another subnet's predictions; delete it, or choose another folder")
    _check(path, part["ids"], part["probabilities"], classes)
    return part["ids"], part["probabilities"]


def _id_type(classes: int) -> np.dtype[Any]:
    return np.dtype("<u2" if classes <= 2**16 else "<i4")


def _origin(evaluated: EvaluatedAccuracy, k: int, precision: Precision) -> str:
    """A digest of all that the predictions stand on: weights, images, what batch norm is recalibrated on."""
    data = evaluated.data
    parts = [f"{format_space(evaluated.supernet.space)} {k} {precision} {data.classes}".encode()]
    for name, value in sorted(evaluated.supernet.state_dict().items()):
        parts += [name.encode(), value.detach().cpu().contiguous().numpy().tobytes()]
    return _digest(*parts, *(array.tobytes() for array in (data.images, data.labels, evaluated.calibration)))


def _digest(*parts: bytes | str | None) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = (part or "").encode() if not isinstance(part, bytes) else part
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
