"""What every search space can do: sample, encode, describe its layers, and count exactly, on whole populations.

An architecture is a row of *genes*, option indices ``0 … cardinality − 1``; a population is ``X (n, genes) int64``.
A space subclasses :class:`Space`, says its gene groups, its vocabulary of layers and which of them an
architecture uses, and registers under the entry point group ``netdyno.spaces``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, signature
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.base.ranges import SEED
from netdyno.base.registry import Registry
from netdyno.exporters.graph import Graph, join
from netdyno.profiler.layers import Layer
from netdyno.profiler.lower import Weights, lower

SPACES = Registry("space", "netdyno.spaces")

Population = NDArray[np.int64]
"""``(n, genes)`` option indices; one architecture is ``(genes,)``."""


@dataclass(frozen=True)
class GeneGroup:
    """``count`` genes of one meaning, under its published name, each an index into ``values``.

    Genes that are not ``layered`` leave the layers as they are, such as a training's learning rate.
    """

    name: str
    values: tuple[int | float | str, ...]
    count: int = 1
    layered: bool = True


class Space(ABC):
    """A search space."""

    name: str
    groups: tuple[GeneGroup, ...]
    classes: int

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Keyword arguments that make this space again, as plain JSON values."""

    @abstractmethod
    def vocabulary(self) -> Sequence[Layer]:
        """Every layer that occurs in the space, once."""

    @abstractmethod
    def layer_ids(self, X: Population) -> NDArray[np.int64]:
        """Layers in execution order, ``(n, slots)`` positions in the vocabulary; −1 where a slot is empty."""

    @abstractmethod
    def active(self, X: Population) -> NDArray[np.bool_]:
        """Which genes have an effect, ``(n, genes)``."""

    # Genes -------------------------------------------------------------------------------------------------------

    @cached_property
    def cardinalities(self) -> NDArray[np.int64]:
        """Options per gene, ``(genes,)``."""
        return np.repeat([len(g.values) for g in self.groups], [g.count for g in self.groups]).astype(np.int64)

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where each gene group stands in a population's columns."""
        ends = np.cumsum([group.count for group in self.groups]).tolist()
        return {g.name: slice(end - g.count, end) for g, end in zip(self.groups, ends, strict=True)}

    def sample(self, n: int, seed: int | np.random.Generator) -> Population:
        """``n`` architectures with independent, uniform genes."""
        generator = np.random.default_rng(seed if isinstance(seed, np.random.Generator) else SEED.check(seed))
        return generator.integers(self.cardinalities, size=(n, len(self.cardinalities)))

    def smallest(self) -> Population:
        """The architecture ``(genes,)`` of every gene's first option, the cheapest where options are ascending."""
        return np.zeros(len(self.cardinalities), np.int64)

    def largest(self) -> Population:
        """The architecture ``(genes,)`` of every gene's last option."""
        return self.cardinalities - 1

    def between(self) -> Space | None:
        """The same space at input sizes between its own; None where there are no such sizes."""
        return None

    def parts(self) -> NDArray[np.int64]:
        """Which genes stand together in the network, ``(levels, genes)`` numbers of parts, coarse to fine.

        Crossover exchanges whole parts. By default each gene stands for itself.
        """
        return np.arange(len(self.cardinalities))[None]

    def check(self, X: Any) -> Population:
        """``X`` as a population of this space; a single architecture becomes a population of one.

        Raises:
            InputError: wrong shape or type, or an index out of its gene's range.
        """
        try:
            population = np.atleast_2d(np.asarray(X))
        except (ValueError, OverflowError) as error:
            raise InputError(f"{self.name}: not a population: {error}") from error
        genes = len(self.cardinalities)
        if population.ndim != 2 or population.shape[1] != genes or population.dtype.kind not in "iu":
            raise InputError(
                f"{self.name}: an architecture is {genes} integers (option indices), "
                f"not {population.dtype} of shape {population.shape}"
            )
        wrong = (population < 0) | (population >= self.cardinalities)
        if wrong.any():
            row, gene = np.argwhere(wrong)[0].tolist()
            raise InputError(
                f"{self.name}: gene {gene} of architecture {row} is {population[row, gene]}; "
                f"it has options 0 to {self.cardinalities[gene] - 1}"
            )
        return population.astype(np.int64, copy=False)

    def encode(self, architectures: Iterable[Mapping[str, Sequence[int | str]]]) -> Population:
        """Genes of architectures in the published form: a dictionary of values for each gene group.

        Raises:
            InputError: a group is missing or of the wrong length, or a value is not in the space.
        """
        rows = list(architectures)
        parts = [np.empty((len(rows), 0), np.int64)]
        for group in self.groups:
            index = {value: option for option, value in enumerate(group.values)}
            part = np.empty((len(rows), group.count), np.int64)
            for position, row in enumerate(rows):
                values = row.get(group.name, ()) if isinstance(row, Mapping) else ()
                if not _is_row(values, group):
                    raise InputError(
                        f"{self.name}: {group.name!r} of architecture {position} must be "
                        f"{group.count} of {list(group.values)}, not {values}"
                    )
                part[position] = [index[value] for value in values]
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def decode(self, X: Population) -> list[dict[str, list[Any]]]:
        """The published form of each architecture; :meth:`encode` reads it back."""
        population = self.check(X)
        columns = {
            group.name: np.asarray(group.values)[population[:, self.columns[group.name]]].tolist()
            for group in self.groups
        }
        return [{name: rows[i] for name, rows in columns.items()} for i in range(len(population))]

    def canonical(self, X: Population) -> Population:
        """The same architectures with inactive genes zeroed: equal rows are equal networks."""
        population = self.check(X)
        return np.where(self.active(population), population, 0)

    def features(self, X: Population) -> NDArray[np.float64]:
        """Masked one-hot encoding for predictors, ``(n, sum of cardinalities)``: inactive genes are all zero."""
        population = self.check(X)
        offsets = np.cumsum(self.cardinalities) - self.cardinalities
        encoded = np.zeros((len(population), int(self.cardinalities.sum())))
        row, gene = np.nonzero(self.active(population))
        encoded[row, offsets[gene] + population[row, gene]] = 1.0
        return encoded

    def structure(self, X: Population) -> NDArray[np.float64]:
        """Structural hyperparameters, ``(n, columns)``: the value of each active gene, 0 where it has no effect.

        Genes whose options are names have a column an option instead, 1 for the one that is taken; those that do not
        change the layers have none.
        """
        population = self.check(X)
        active, one_hot = self.active(population), self.features(population)
        first = np.cumsum(self.cardinalities) - self.cardinalities
        columns = []
        for group in filter(attrgetter("layered"), self.groups):
            named = any(isinstance(value, str) for value in group.values)
            for gene in range(*self.columns[group.name].indices(len(first))):
                values = np.asarray(group.values)[population[:, gene], None]
                own = slice(first[gene], first[gene] + len(group.values))
                columns.append(one_hot[:, own] if named else np.where(active[:, [gene]], values, 0))
        return np.concatenate(columns, axis=1).astype(np.float64)

    def option_counts(self, X: Population) -> NDArray[np.float64]:
        """How many active genes take each option, ``(n, options)``; genes with equal options are counted together.

        Genes that do not change the layers are left out.
        """
        features = self.features(X)
        together: dict[tuple[int | float | str, ...], NDArray[np.float64]] = {}
        column = 0
        for group in self.groups:
            width = len(group.values)
            counts = features[:, column : column + width * group.count].reshape(-1, group.count, width).sum(axis=1)
            if group.layered:
                together[group.values] = together.get(group.values, 0.0) + counts
            column += width * group.count
        return np.concatenate(list(together.values()), axis=1)

    # Networks ----------------------------------------------------------------------------------------------------

    def layers(self, genes: Population) -> list[Layer]:
        """The layers of one architecture in execution order."""
        vocabulary = self.vocabulary()
        return [vocabulary[i] for i in self.layer_ids(self.check(genes))[0] if i >= 0]

    def recipe(self, genes: Population) -> dict[str, float]:
        """What one architecture ``(genes,)`` says of its own training, by name; most say nothing."""
        return {}

    def resolution(self, genes: Population) -> int:
        """Height and width of one architecture's input."""
        return self.layers(genes)[0].input_shape[-1]

    def graph(self, genes: Population, weights: Sequence[Weights] | None = None) -> Graph:
        """The op-level graph of one architecture; ``weights`` holds one mapping a layer, see ``lower``."""
        layers = self.layers(genes)
        each: Sequence[Weights | None] = [None] * len(layers) if weights is None else weights
        return join(self.name, [lower(layer, own) for layer, own in zip(layers, each, strict=True)])

    def macs(self, X: Population) -> NDArray[np.int64]:
        """Multiply-accumulates of one inference, ``(n,)``, exact."""
        return self._sum(self._layer_macs, X)

    def params(self, X: Population) -> NDArray[np.int64]:
        """Trained parameters, ``(n,)``, exact."""
        return self._sum(self._layer_params, X)

    def peak_activation_bytes(self, X: Population) -> NDArray[np.int64]:
        """Largest sum of live FP32 activations of one inference in execution order, ``(n,)``, exact."""
        peaks: NDArray[np.int64] = self._layer_peaks[self.layer_ids(self.check(X))].max(axis=1)
        return peaks

    # An empty slot's id, −1, finds the last entry of these, a zero.

    @cached_property
    def _layer_macs(self) -> NDArray[np.int64]:
        return np.array([*(layer.macs for layer in self.vocabulary()), 0], np.int64)

    @cached_property
    def _layer_params(self) -> NDArray[np.int64]:
        return np.array([*(layer.params for layer in self.vocabulary()), 0], np.int64)

    @cached_property
    def _layer_peaks(self) -> NDArray[np.int64]:
        return np.array([*(layer.peak_activation_bytes for layer in self.vocabulary()), 0], np.int64)

    def _sum(self, per_layer: NDArray[np.int64], X: Population) -> NDArray[np.int64]:
        total: NDArray[np.int64] = per_layer[self.layer_ids(self.check(X))].sum(axis=1)
        return total

    def __repr__(self) -> str:
        return format_space(self)


def _is_row(values: Any, group: GeneGroup) -> bool:
    """Whether these are one value of the group for each of its genes."""
    if not isinstance(values, Sequence | np.ndarray) or len(values) != group.count:
        return False
    return all(isinstance(value, int | float | np.number | str) and value in group.values for value in values)


def make_space(name: str, **parameters: Any) -> Space:
    """The space of a registered name, with the parameters that it takes.

    Raises:
        UnknownName: no such space.
        InputError: no such parameter, or a value that it cannot have.
    """
    return _build(name, parameters)


def _build(name: str, parameters: Mapping[str, Any]) -> Space:
    build = SPACES.load(name)
    known = signature(build).parameters
    open_ended = any(each.kind is Parameter.VAR_KEYWORD for each in known.values())
    for key in parameters:
        if key not in known and not open_ended:
            raise InputError(f"space {name} has no parameter {key!r}; it has {', '.join(known) or 'none'}")
    try:
        space: Space = build(**parameters)
    except (TypeError, ValueError, OverflowError) as error:
        given = ", ".join(f"{key}={value}" for key, value in parameters.items())
        raise InputError(
            f"space {name} cannot be made with {given}: its parameters are {', '.join(known)}"
        ) from error
    for key, value in parameters.items():
        own = space.parameters.get(key)
        if isinstance(value, int | float) and isinstance(own, int | float) and value != own:
            raise InputError(f"space {name}: {key} cannot be {value}")
    return space


def parse_space(text: str) -> Space:
    """The space of a name with optional parameters: ``ofa-mobilenetv3:width=0.25,resolutions=48/56/64``.

    Raises:
        UnknownName: no such space.
        InputError: not of that form, or a parameter that the space does not take.
    """
    return _build(*split_parameters(text))


def split_parameters(text: str) -> tuple[str, dict[str, Any]]:
    """Name and numeric parameters of text such as ``name:width=0.25,resolutions=48/56/64``.

    Raises:
        InputError: not of that form.
    """
    name, _, settings = text.partition(":")
    parameters: dict[str, Any] = {}
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"{text!r}: write parameters as name=value, several values as 48/56/64")
        values = [_number(text, part) for part in value.split("/")]
        if key.strip() in parameters:
            raise InputError(f"{text!r}: {key.strip()} is given twice")
        parameters[key.strip()] = values if len(values) > 1 else values[0]
    return name, parameters


def format_space(space: Space) -> str:
    """Text from which :func:`parse_space` makes the space again."""
    settings = (
        f"{key}={'/'.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in space.parameters.items()
    )
    return f"{space.name}:{','.join(settings)}"


def _number(text: str, part: str) -> int | float:
    for convert in (int, float):
        try:
            value = convert(part)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    raise InputError(f"{text!r}: not a number: {part!r}")


def parse_genes(space: Space, text: str) -> Population:
    """The architecture ``(genes,)`` of a network row's name, option indices with spaces between.

    Raises:
        InputError: not an architecture of this space.
    """
    try:
        genes = np.array([int(gene) for gene in text.split()], np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(f"not an architecture: {text[:80]!r}") from error
    found: Population = space.check(genes)[0]
    return found
