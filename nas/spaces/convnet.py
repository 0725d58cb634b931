"""Plain convolutional networks in Caffe's manner, and how they are trained.

Convolutions, each with a pool behind it that halves the sides, then a fully connected layer and the classifier, with
biases and relu and without batch norm. HyperPower's two spaces (Stamoulis 2020, section 3.4.1) have genes for the
learning rate, momentum and weight decay besides; the one that adaptive networks are made of (chapter 4) has sizes
alone. All lie between the published bounds, on grids that are coarse enough for a table to hold every layer.
"""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.space import GeneGroup, Population
from netdyno.nas.spaces.slots import LARGEST_WIDTH, Slot, SlottedSpace
from netdyno.profiler.layers import Dense, Linear, MaxPool, PlainConv

CHANNELS = 3
KERNELS = (2, 3, 4, 5)
POOLS = (1, 2, 3)
HALVES = 2
SMALLEST, LARGEST = 8, 256
"""Input resolutions that there can be."""


def _grid(least: float, most: float, n: int, *, logarithmic: bool) -> tuple[float, ...]:
    values = np.geomspace(least, most, n) if logarithmic else np.linspace(least, most, n)
    return tuple(float(f"{value:.4g}") for value in values)


RECIPE = (
    GeneGroup("learning_rate", _grid(0.001, 0.1, 21, logarithmic=True), layered=False),
    GeneGroup("momentum", _grid(0.8, 0.95, 16, logarithmic=False), layered=False),
    GeneGroup("weight_decay", _grid(0.0001, 0.01, 21, logarithmic=True), layered=False),
)


class ConvNet(SlottedSpace):
    """Networks of ``convs`` convolutions, at any input resolution and for any number of classes.

    Where sizes are ``shared``, one gene is that of all convolutions. ``width`` scales features and units. Of
    features, kernels and units one in ``every`` is there: a space may be small enough to be known entirely.

    Raises:
        InputError: a resolution, number of classes, width or step that cannot be.
    """

    convs: ClassVar[int]
    shared: ClassVar[bool] = False
    feature_counts: ClassVar[tuple[int, ...]] = tuple(range(20, 81, 10))
    pools: ClassVar[tuple[int, ...]] = POOLS
    unit_counts: ClassVar[tuple[int, ...]] = tuple(range(200, 701, 50))
    recipes: ClassVar[tuple[GeneGroup, ...]] = RECIPE

    def __init__(self, resolution: int, classes: int = 10, width: float = 1.0, every: int = 1) -> None:
        self.side, self.width, self.every = int(resolution), float(width), int(every)
        if not SMALLEST <= self.side <= LARGEST:
            raise InputError(f"{self.name}: resolution must be from {SMALLEST} to {LARGEST}, not {self.side}")
        if not 0 < self.width <= LARGEST_WIDTH:
            raise InputError(f"{self.name}: width must be above 0 and at most {LARGEST_WIDTH}, not {self.width:g}")
        if self.every < 1:
            raise InputError(f"{self.name}: every must be 1 or more, not {self.every}")
        each = 1 if self.shared else self.convs
        self._features, self._units = map(self._scaled, (self.feature_counts, self.unit_counts))
        self._kernels = KERNELS[:: self.every]
        sizes = [GeneGroup("features", self._features, each), GeneGroup("kernel", self._kernels, each)]
        if len(self.pools) > 1:
            sizes.append(GeneGroup("pool", self.pools, each))
        self.groups = (*sizes, GeneGroup("units", self._units), *self.recipes)
        super().__init__(classes)

    @property
    def parameters(self) -> dict[str, Any]:
        """Resolution and classes, width and step where they are not 1."""
        known = {"width": self.width, "every": self.every}
        own = {name: value for name, value in known.items() if value != 1}
        return {"resolution": self.side, "classes": self.classes, **own}

    def slots(self) -> list[Slot]:
        """Convolution and pool in turn, fully connected layer, classifier."""
        slots: list[Slot] = []
        side, (units,) = self.side, self._genes("units")
        features, kernels, pools = (self._genes(name) for name in ("features", "kernel", "pool"))
        for number in range(self.convs):
            slots += [self._convolution(side, number, features, kernels), self._pool(side, number, features, pools)]
            side = -(-side // HALVES)
        dense = (Dense(side, side, cin, cout, "relu") for cin, cout in product(self._features, self._units))
        classifiers = (Linear(cin, self.classes) for cin in self._units)
        return [*slots, Slot(tuple(dense), (features[-1], units)), Slot(tuple(classifiers), (units,))]

    def recipe(self, genes: Population) -> dict[str, float]:
        """Learning rate, momentum and weight decay of one architecture ``(genes,)``, where the space has them."""
        (values,) = self.decode(genes)
        return {group.name: values[group.name][0] for group in self.recipes}

    def _scaled(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(round(size * self.width), 1) for size in sizes[:: self.every])

    def _convolution(self, side: int, number: int, features: tuple[int, ...], kernels: tuple[int, ...]) -> Slot:
        after, kernel = features[number], kernels[number]
        before = features[number - 1] if number else None
        if before is None or before == after:  # the input's channels, or as many as come out
            options = product(self._features, self._kernels)
            sizes = ((CHANNELS if before is None else cout, cout, k) for cout, k in options)
            genes: tuple[int, ...] = (after, kernel)
        else:
            sizes = ((cin, cout, k) for cin, cout, k in product(self._features, self._features, self._kernels))
            genes = (before, after, kernel)
        return Slot(tuple(PlainConv(side, side, *each, 1, "relu") for each in sizes), genes)

    def _pool(self, side: int, number: int, features: tuple[int, ...], pools: tuple[int, ...]) -> Slot:
        layers = (MaxPool(side, side, cin, size, HALVES) for cin, size in product(self._features, self.pools))
        return Slot(tuple(layers), (features[number], *pools[number : number + 1]))

    def _genes(self, name: str) -> tuple[int, ...]:
        """The gene of a group that each convolution has, or the one that the network has; none without the group."""
        if name not in self.columns:
            return ()
        own = range(*self.columns[name].indices(len(self.cardinalities)))
        return tuple(own) * self.convs if self.shared and name != "units" else tuple(own)


class CnnMnist(ConvNet):
    """Six hyperparameters: one convolution, the fully connected layer, the training."""

    name = "cnn-mnist"
    convs = 1
    pools = (2,)

    def __init__(self, resolution: int = 28, classes: int = 10, width: float = 1.0, every: int = 1) -> None:
        super().__init__(resolution, classes, width, every)


class CnnCifar10(ConvNet):
    """Thirteen hyperparameters: three convolutions with their pools, the fully connected layer, the training."""

    name = "cnn-cifar10"
    convs = 3

    def __init__(self, resolution: int = 32, classes: int = 10, width: float = 1.0, every: int = 1) -> None:
        super().__init__(resolution, classes, width, every)


class CnnCaffeNet(ConvNet):
    """Three sizes of a network as CaffeNet's: features and kernel of all three convolutions, and units."""

    name = "cnn-caffenet"
    convs = 3
    shared = True
    feature_counts = tuple(range(32, 449, 32))
    pools = (3,)
    unit_counts = tuple(range(500, 4001, 500))
    recipes = ()

    def __init__(self, resolution: int = 32, classes: int = 10, width: float = 1.0, every: int = 1) -> None:
        super().__init__(resolution, classes, width, every)
