"""Plain convolutional networks, and how they are trained: HyperPower's two spaces (Stamoulis 2020, section 3.4.1).

Convolutions, each with a pool behind it that halves the sides, then a fully connected layer and the classifier, in
Caffe's manner: biases, relu, no batch norm. Besides features, kernels, pools and units the genes say with what
learning rate, momentum and weight decay a network is trained. All lie between the published bounds, on grids that are
coarse enough for a table to hold every layer.
"""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.space import GeneGroup, Population
from netdyno.nas.spaces.slots import Slot, SlottedSpace
from netdyno.profiler.layers import Dense, Linear, MaxPool, PlainConv

CHANNELS = 3
FEATURES = tuple(range(20, 81, 10))
KERNELS = (2, 3, 4, 5)
POOLS = (1, 2, 3)
UNITS = tuple(range(200, 701, 50))
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

    Raises:
        InputError: a resolution or number of classes that cannot be.
    """

    convs: ClassVar[int]
    pools: ClassVar[tuple[int, ...]]

    def __init__(self, resolution: int, classes: int = 10) -> None:
        self.side = int(resolution)
        if not SMALLEST <= self.side <= LARGEST:
            raise InputError(f"{self.name}: resolution must be from {SMALLEST} to {LARGEST}, not {self.side}")
        sizes = [GeneGroup("features", FEATURES, self.convs), GeneGroup("kernel", KERNELS, self.convs)]
        if len(self.pools) > 1:
            sizes.append(GeneGroup("pool", self.pools, self.convs))
        self.groups = (*sizes, GeneGroup("units", UNITS), *RECIPE)
        super().__init__(classes)

    @property
    def parameters(self) -> dict[str, Any]:
        """Resolution and classes."""
        return {"resolution": self.side, "classes": self.classes}

    def slots(self) -> list[Slot]:
        """Convolution and pool in turn, fully connected layer, classifier."""
        sides = [self.side]
        for _ in range(self.convs):
            sides.append(-(-sides[-1] // HALVES))
        features, kernel, pool = (self._genes(name) for name in ("features", "kernel", "pool"))
        (units,) = self._genes("units")
        slots = []
        for number, side in enumerate(sides[:-1]):
            before = FEATURES if number else (CHANNELS,)
            convs = (PlainConv(side, side, *sizes, 1, "relu") for sizes in product(before, FEATURES, KERNELS))
            inputs = (features[number - 1],) if number else ()
            slots.append(Slot(tuple(convs), (*inputs, features[number], kernel[number])))
            pools = (MaxPool(side, side, cin, size, HALVES) for cin, size in product(FEATURES, self.pools))
            slots.append(Slot(tuple(pools), (features[number], *(pool[number : number + 1]))))
        last = sides[-1]
        dense = tuple(Dense(last, last, cin, cout, "relu") for cin, cout in product(FEATURES, UNITS))
        classifiers = tuple(Linear(cin, self.classes) for cin in UNITS)
        return [*slots, Slot(dense, (features[-1], units)), Slot(classifiers, (units,))]

    def recipe(self, genes: Population) -> dict[str, float]:
        """Learning rate, momentum and weight decay of one architecture ``(genes,)``."""
        (values,) = self.decode(genes)
        return {group.name: values[group.name][0] for group in RECIPE}

    def _genes(self, name: str) -> tuple[int, ...]:
        """Where the genes of a group stand; none where there is no such group."""
        columns = self.columns.get(name, slice(0))
        return tuple(range(columns.start or 0, columns.stop))


class CnnMnist(ConvNet):
    """Six hyperparameters: one convolution, the fully connected layer, the training."""

    name = "cnn-mnist"
    convs = 1
    pools = (2,)

    def __init__(self, resolution: int = 28, classes: int = 10) -> None:
        super().__init__(resolution, classes)


class CnnCifar10(ConvNet):
    """Thirteen hyperparameters: three convolutions with their pools, the fully connected layer, the training."""

    name = "cnn-cifar10"
    convs = 3
    pools = POOLS

    def __init__(self, resolution: int = 32, classes: int = 10) -> None:
        super().__init__(resolution, classes)
