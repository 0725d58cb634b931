"""netdyno, a dynamometer for neural networks: measure them on a device, search them, ship the winners.

The public interface, version 1. Everything heavy is imported by the function that needs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdyno.base.errors import NetdynoError

# ONNX Runtime, once imported, else writes a device id and a database of events to send below ~/.cache/Microsoft.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netdyno.base.objective import Objective
    from netdyno.devices import Device
    from netdyno.exporters.bundle import Bundle
    from netdyno.nas.accuracy.accuracy import Accuracy
    from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
    from netdyno.nas.accuracy.predictor import FittedAccuracy
    from netdyno.nas.search.front import Front
    from netdyno.nas.space import Space
    from netdyno.nas.supernets.subnet import Subnet
    from netdyno.nas.supernets.supernet import Supernet
    from netdyno.profiler.cost.cost import Cost
    from netdyno.profiler.table import LookupTable

__all__ = [
    "NetdynoError",
    "accuracy",
    "device",
    "export",
    "fit_accuracy",
    "fit_cost",
    "import_table",
    "load_accuracy",
    "load_bundle",
    "load_supernet",
    "load_table",
    "profile",
    "search",
    "space",
    "supernet",
    "train",
]


def device(identifier: str = "cpu", **options: Any) -> Device:
    """The device of an identifier such as ``cpu``; close it, or use it in a ``with`` block.

    Phones take ``runner`` (``builtin``, or the path of a ``benchmark_model``) and ``fetch`` as options.

    Raises:
        UnknownName: no back end of that name.
        InputError: it has no such option.
        DeviceError: it cannot be reached.
    """
    from netdyno.devices import open_device

    return open_device(identifier, **options)


def space(name: str, **parameters: Any) -> Space:
    """A search space by its name, with parameters such as ``width``, ``resolutions``, ``classes``.

    Raises:
        UnknownName: no such space.
        InputError: a parameter that it does not take.
    """
    from netdyno.nas.space import make_space

    return make_space(name, **parameters)


def profile(
    space: Space,
    device: Device,
    metrics: Sequence[str] = ("latency", "memory"),
    *,
    runtime: str = "",
    threads: int = 1,
    batch: int = 1,
    budget_s: float | None = None,
    networks: bool = True,
    out: str | Path | None = None,
) -> LookupTable:
    """Measure every layer of a space on a device; with ``out`` the table is written there, and resumable.

    With ``networks`` some whole networks are measured too: the table is calibrated on them and states its error.

    Raises:
        InputError: an unknown metric or runtime, or ``out`` belongs to another run.
        DeviceError: the device was lost.
    """
    from netdyno.devices import Settings
    from netdyno.nas.space import format_space
    from netdyno.profiler.measure import Method, check_metrics
    from netdyno.profiler.plan import NO_NETWORKS, Networks
    from netdyno.profiler.profile import profile_space
    from netdyno.profiler.profiling import Profiling

    chosen = check_metrics(metrics)
    method = Method(budget_s=budget_s, memory="memory" in chosen, energy_windows=2 * ("energy" in chosen))
    folder = Path(out) if out is not None else None
    run = Profiling(device, Settings(runtime, threads), method, folder, batch=batch)
    measured = Networks() if networks else NO_NETWORKS
    return profile_space(space, run, subject=format_space(space), networks=measured)


def load_table(path: str | Path) -> LookupTable:
    """Read a lookup table's folder.

    Raises:
        InputError: no table there.
    """
    from netdyno.profiler.table import load_table

    return load_table(Path(path))


def import_table(
    path: str | Path, format: str, *, device: str = "", runtime: str = "", precision: str = ""
) -> LookupTable:
    """Read a table in another project's format; what to pick, where a file holds several tables.

    Formats: aihub-perf, benchmark-model, ofa-yaml, onnxruntime-json, single-path-json, tfnas-csv, trtexec-json.

    Raises:
        UnknownName: no such format, or nothing of that name to pick.
        InputError: not a table of that format, or several of which none was picked.
    """
    from netdyno.profiler.formats import Choice, import_table

    return import_table(Path(path), format, Choice(device, runtime, precision))


def fit_cost(
    space: Space,
    X: NDArray[np.int64],
    y: NDArray[np.float64],
    method: str = "few-sample",
    seed: int = 0,
    name: str = "latency_ms",
) -> Cost:
    """Fit a cost model to architectures ``X (n, genes)`` of measured cost ``y (n,)``; ``name`` says what y is.

    Methods: few-sample (ten networks suffice), additive, structural, linear, ridge, linear-svr, svr, stacked.

    Raises:
        UnknownName: no such method.
        InputError: too few architectures, or not one positive, finite cost each.
    """
    from netdyno.profiler.cost.fit import fit_cost

    return fit_cost(space, X, y, method, seed=seed, name=name)


def load_accuracy(path: str | Path, space: Space) -> Accuracy:
    """Read Once-for-All's published accuracy predictor, a ``.pth`` state dict.

    Raises:
        InputError: not that predictor, or not for this space.
    """
    from netdyno.nas.accuracy.ofa_mlp import load_ofa_mlp

    return load_ofa_mlp(Path(path), space)


def fit_accuracy(space: Space, X: NDArray[np.int64], y: NDArray[np.float64], seed: int = 0) -> FittedAccuracy:
    """Fit a predictor to architectures ``X (n, genes)`` of known accuracy ``y (n,)`` in percent.

    Raises:
        InputError: too few architectures.
    """
    from netdyno.nas.accuracy.predictor import fit_accuracy

    return fit_accuracy(space, X, y, seed)


def accuracy(supernet: Supernet, data: str = "digits", split: str = "val") -> EvaluatedAccuracy:
    """Accuracy that is really evaluated on a data set's split, subnet by subnet, and cached.

    Raises:
        UnknownName: no such data set.
    """
    from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
    from netdyno.nas.data import load_data

    return EvaluatedAccuracy(supernet, load_data(data, split), load_data(data, "train"))


def search(
    space: Space,
    objectives: Sequence[Objective],
    method: str = "ofa2",
    evaluations: int = 100_000,
    seed: int = 0,
    **options: Any,
) -> Front:
    """Search a space for the architectures that no other beats in every objective.

    Raises:
        UnknownName: no such method.
        InputError: an option that the method does not take.
    """
    from netdyno.nas.search import search

    return search(space, objectives, method, evaluations, seed, **options)


def supernet(space: Space) -> Supernet:
    """An untrained supernet of a space, a torch module.

    Raises:
        UnknownName: there is no supernet for this space.
        MissingExtra: torch is not installed.
    """
    from netdyno.nas.supernets.store import make_supernet

    return make_supernet(space)


def train(supernet: Supernet, data: str = "digits", out: str | Path | None = None, **options: Any) -> None:
    """Train a supernet in place; with ``out`` it is written there.

    ``options`` are those of :class:`netdyno.nas.supernets.train.Training`.

    Raises:
        UnknownName: no such data set.
        InputError: the data does not fit the space, or ``out`` cannot be written.
    """
    from netdyno.base.folders import require_replaceable
    from netdyno.nas.data import load_data
    from netdyno.nas.supernets.store import OWN_FILES, save_supernet
    from netdyno.nas.supernets.train import Training, train_supernet

    if out is not None:
        require_replaceable(Path(out), OWN_FILES)
    training = Training(**options)
    train_supernet(supernet, load_data(data, "train"), training)
    if out is not None:
        save_supernet(supernet, Path(out), data=data, training=training)


def load_supernet(path: str | Path) -> Supernet:
    """Read a trained supernet's folder.

    Raises:
        InputError: no supernet there.
        MissingExtra: torch is not installed.
    """
    from netdyno.nas.supernets.store import load_supernet

    return load_supernet(Path(path))[0]


def export(
    subnet: Subnet,
    to: Sequence[str] = ("onnx", "tflite"),
    out: str | Path = "dist",
    data: str | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    backbone: bool = False,
) -> Bundle:
    """Ship a subnet as a bundle: a model file in each format, a card, a golden input and output.

    ``data`` names the data set whose normalisation and labels go onto the card, and whose first test image is the
    golden input; ``facts`` (what was measured and predicted) go there as they are. A ``backbone`` has no head, and
    the feature maps c2, c3, … for outputs.

    Raises:
        UnknownName: no such format.
        InputError: ``out`` cannot be written or holds something else, or the network has no feature maps.
    """
    from netdyno.nas.data import load_data
    from netdyno.nas.ship import ship

    images = None if data is None else load_data(data, "test")
    return ship(subnet, Path(out), to, images, {"facts": dict(facts or {})}, backbone=backbone)


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check every file in it.

    Raises:
        InputError: no bundle there.
        VerificationError: a file is not what the card says.
    """
    from netdyno.exporters.bundle import load_bundle

    return load_bundle(Path(path))
