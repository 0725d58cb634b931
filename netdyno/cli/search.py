"""``netdyno search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdyno.cli.console import Json, emit, print_table, progress, say

if TYPE_CHECKING:
    from netdyno.base.objective import Objective
    from netdyno.base.progress import Progress
    from netdyno.nas.accuracy.accuracy import Accuracy
    from netdyno.nas.space import Space

PREDICTOR_SAMPLES = 160
COSTS = {"latency": "latency_ms", "memory": "memory_bytes", "energy": "energy_mj"}
COUNTS = ("macs", "params", "peak_activation_bytes")


def search(
    space: Annotated[str, typer.Argument(help="A space, e.g. ofa-mobilenetv3:width=1.2,resolutions=160/192/224.")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    table: Annotated[Path | None, typer.Option(help="Lookup table for latency, memory, energy.")] = None,
    accuracy: Annotated[
        Path | None, typer.Option(help="A trained supernet's folder, or a published predictor (.pth).")
    ] = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="accuracy, latency, memory, energy, macs, params, …; repeatable.")
    ] = None,
    method: Annotated[str, typer.Option(help="ofa2 or random.")] = "ofa2",
    evaluations: Annotated[int, typer.Option(min=1, help="Architectures to evaluate.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    as_json: Json = False,
) -> None:
    """Search a space for the architectures that no other beats in every objective."""
    from netdyno.base.files import require_writable
    from netdyno.nas.search import SEARCHERS
    from netdyno.nas.search import search as run_search
    from netdyno.nas.space import parse_space
    from netdyno.runs import write_run

    chosen = parse_space(space)
    names = objective or ["latency", "accuracy"]
    SEARCHERS.load(method)
    _check(names, table, accuracy)
    require_writable(out)
    with progress() as tell:
        objectives = [_objective(name, chosen, table, accuracy, seed, tell) for name in names]
        front = run_search(chosen, objectives, method, evaluations, seed, tell)
    descriptor: dict[str, Any] = {
        "method": method,
        "seed": seed,
        "evaluations": front.evaluations,
        "objectives": list(front.objectives),
        "table": _absolute(table),
        "supernet": _absolute(accuracy) if accuracy and accuracy.is_dir() else None,
    }
    write_run(out, descriptor, front)
    say(f"{front.evaluations} evaluations, {len(front)} on the front -> {out}")
    if as_json:
        emit({"run": str(out), "objectives": front.objectives, "F": front.F.tolist(), "X": front.X.tolist()})
        return
    step = max(len(front) // 12, 1)
    print_table(
        ("", *front.objectives), [(str(i), *(f"{v:.5g}" for v in front.F[i])) for i in range(0, len(front), step)]
    )


def _check(names: list[str], table: Path | None, accuracy: Path | None) -> None:
    """Refuse objectives that are unknown, or whose source was not given."""
    from netdyno.base.errors import InputError, UnknownName

    for name in names:
        if name not in ("accuracy", *COSTS, *COUNTS):
            raise UnknownName("objective", name, ("accuracy", *COSTS, *COUNTS))
        if name == "accuracy" and accuracy is None:
            raise InputError("the objective accuracy needs --accuracy: a supernet's folder or a predictor")
        if name in COSTS and table is None:
            raise InputError(f"the objective {name} needs --table")


def _objective(
    name: str, space: Space, table: Path | None, accuracy: Path | None, seed: int, tell: Progress
) -> Objective:
    from netdyno.base.objective import Objective
    from netdyno.profiler.table import load_table

    if name == "accuracy" and accuracy is not None:
        return _accuracy(space, accuracy, seed, tell).maximize()
    if name in COSTS and table is not None:
        return load_table(table).cost(space, COSTS[name]).minimize()
    return Objective(name, getattr(space, name))


def _accuracy(space: Space, path: Path, seed: int, tell: Progress) -> Accuracy:
    """The published predictor of a file, or one fitted to subnets of a supernet that are evaluated here."""
    from netdyno.base.errors import InputError
    from netdyno.nas.accuracy.ofa_mlp import load_ofa_mlp

    if not path.is_dir():
        return load_ofa_mlp(path, space)
    from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
    from netdyno.nas.accuracy.predictor import fit_accuracy
    from netdyno.nas.data import load_data
    from netdyno.nas.supernets.store import load_supernet

    supernet, descriptor = load_supernet(path)
    if supernet.space.parameters != space.parameters:
        raise InputError(f"{path}: a supernet of {supernet.space}, not of {space}")
    data = str(descriptor.get("data", "digits"))
    evaluated = EvaluatedAccuracy(supernet, load_data(data, "val"), load_data(data, "train"), progress=tell)
    X = space.sample(PREDICTOR_SAMPLES, seed + 1)
    return fit_accuracy(space, X, evaluated(X), seed)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
