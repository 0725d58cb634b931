"""What a search can minimise, maximise or limit, by the names that people write."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError, UnknownName
from netdyno.base.files import read_bytes
from netdyno.base.objective import Constraint, Objective, Optimisable
from netdyno.base.progress import Progress, silent
from netdyno.base.registry import require
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.accuracy.ofa_mlp import load_ofa_mlp
from netdyno.nas.space import Population, Space, split_parameters
from netdyno.profiler.table import LookupTable, load_table
from netdyno.settings import make_settings

if TYPE_CHECKING:
    from netdyno.nas.supernets.sgd import Sgd
    from netdyno.nas.supernets.train import Training

PREDICTOR_SAMPLES = 160
COSTS = {"latency": "latency_ms", "memory": "memory_bytes", "energy": "energy_mj", "power": "power_w"}
COUNTS = ("macs", "params", "peak_activation_bytes")
APPLIED = ("calibration", "constant_ms")
"""Conditions of a table that its costs depend on."""
TRAIN = "train"
NAMES = ("accuracy", *COSTS, *COUNTS)
_CONSTRAINT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\deE]+)\s*", re.ASCII)


class Count(Optimisable):
    """A number that the space itself counts, exactly."""

    def __init__(self, space: Space, name: str) -> None:
        self._space = space
        self.name = name

    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, genes)`` to ``(n,)``."""
        return np.asarray(getattr(self._space, self.name)(X), np.float64)


class Targets:
    """The values of a space's architectures, from a lookup table, an accuracy and the space itself.

    ``accuracy`` is a supernet's folder or a published predictor; a supernet's is evaluated on subnets drawn with
    ``seed``, and predicted from those. It may also be ``train`` with settings of a training, ``train:steps=200``:
    every architecture is trained on ``data``, and kept in the folder ``networks``.
    """

    def __init__(
        self,
        space: Space,
        table: Path | None = None,
        accuracy: Path | None = None,
        seed: int = 0,
        progress: Progress = silent,
        data: str = "digits",
        networks: Path | None = None,
    ) -> None:
        self._space = space
        self._table = table
        self._accuracy = accuracy
        self._seed = seed
        self._progress = progress
        self._data = data
        self._networks = networks
        self._known: dict[str, Optimisable] = {}
        self._opened: LookupTable | None = None

    def require(self, name: str) -> str:
        """The short form of a name, if there is such a value here.

        Raises:
            UnknownName: no such value.
            InputError: what it is taken from was not given.
        """
        short = next((each for each, full in COSTS.items() if full == name), name.removesuffix("_pct"))
        if short not in NAMES:
            raise UnknownName("objective", name, NAMES)
        if short == "accuracy" and self._accuracy is None:
            raise InputError("accuracy needs --accuracy: a supernet's folder, a predictor, or train")
        if short in COSTS and self._table is None:
            raise InputError(f"{short} needs --table")
        return short

    def objective(self, name: str) -> Objective:
        """The value as an objective: accuracy is maximised, all else minimised; raises as :meth:`require` does."""
        value = self._value(self.require(name))
        return value.maximize() if isinstance(value, Accuracy) else value.minimize()

    def constraint(self, text: str) -> Constraint:
        """The limit that ``latency_ms<=30`` or ``accuracy>=75`` sets; raises as :meth:`require` does."""
        name, sign, limit = split_constraint(text)
        value = self._value(self.require(name))
        return value.at_most(limit) if sign == "<=" else value.at_least(limit)

    def identity(self) -> dict[str, Any]:
        """Digests of what the values are taken from, and what of the table's conditions is applied to its rows."""
        from netdyno.nas.supernets.store import WEIGHTS

        files: list[Path] = []
        if self._table is not None:
            files += [self._table / name for name in ("layers.csv", "networks.csv")]
        trained = self._accuracy is not None and trains(self._accuracy)
        if self._accuracy is not None and not trained:
            files.append(self._accuracy / WEIGHTS if self._accuracy.is_dir() else self._accuracy)
        known: dict[str, Any] = {
            "sources": {path.name: hashlib.sha256(read_bytes(path)).hexdigest() for path in files}
        }
        conditions = {} if self._table is None else self._loaded(self._table).conditions
        if applied := {name: conditions[name] for name in APPLIED if conditions.get(name)}:
            known["applied"] = applied
        return known | ({"trained": [str(self._accuracy), self._data]} if trained else {})

    def _loaded(self, path: Path) -> LookupTable:
        if self._opened is None:
            self._opened = load_table(path)
        return self._opened

    def _value(self, name: str) -> Optimisable:
        if name not in self._known:
            self._known[name] = self._make(name)
        return self._known[name]

    def _make(self, name: str) -> Optimisable:
        if name == "accuracy" and self._accuracy is not None:
            return self._make_accuracy(self._accuracy)
        if name in COSTS and self._table is not None:
            return self._loaded(self._table).cost(self._space, COSTS[name])
        return Count(self._space, name)

    def _make_accuracy(self, path: Path) -> Accuracy:
        if trains(path):
            return self._trained(str(path))
        if not path.is_dir():
            return load_ofa_mlp(path, self._space)
        from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
        from netdyno.nas.accuracy.predictor import fit_accuracy
        from netdyno.nas.data import load_data
        from netdyno.nas.supernets.store import load_supernet

        supernet, descriptor = load_supernet(path)
        if str(supernet.space) != str(self._space):
            raise InputError(f"{path}: a supernet of {supernet.space}, not of {self._space}")
        data = str(descriptor.get("data", "digits"))
        splits = load_data(data, "val"), load_data(data, "train")
        evaluated = EvaluatedAccuracy(supernet, *splits, progress=self._progress)
        X = self._space.sample(PREDICTOR_SAMPLES, self._seed + 1)
        return fit_accuracy(self._space, X, evaluated(X), self._seed)

    def _trained(self, text: str) -> Accuracy:
        training = make_training(self._space, text, self._seed)
        from netdyno.nas.accuracy.trained import TrainedAccuracy
        from netdyno.nas.data import load_data

        images = load_data(self._data, "train"), load_data(self._data, "val")
        return TrainedAccuracy(self._space, *images, training, self._networks, self._progress)


def make_training(space: Space, text: str, seed: int = 0) -> Training | Sgd:
    """The training that ``train:steps=200`` says, with the space's own recipe where its genes say one.

    Raises:
        InputError: not of that form, or a setting that there is not.
        MissingExtra: torch is not installed.
    """
    name, settings = split_parameters(text)
    if name != TRAIN:
        raise InputError(f"networks are trained by train, as in train:steps=200, not by {text!r}")
    require("torch", extra="train", purpose="training")
    from netdyno.nas.supernets.sgd import Sgd
    from netdyno.nas.supernets.train import Training

    kind: type[Training | Sgd] = Sgd if space.recipe(space.smallest()) else Training
    return make_settings(kind, {"seed": seed, **settings}, "training")


def trains(accuracy: Path) -> bool:
    """Whether ``--accuracy`` says that every architecture is to be trained."""
    return str(accuracy).partition(":")[0] == TRAIN and not accuracy.exists()


def split_constraint(text: str) -> tuple[str, str, float]:
    """Name, sign and limit of a constraint.

    Raises:
        InputError: not of that form.
    """
    found = _CONSTRAINT.fullmatch(text)
    try:
        limit = float(found[3]) if found else np.nan
    except ValueError:
        limit = np.nan
    if found is None or not np.isfinite(limit):
        raise InputError(f"not a constraint: {text!r}; write latency_ms<=30 or accuracy>=75")
    return found[1], found[2], limit
