"""``netdyno search``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdyno.base.ranges import EVALUATIONS, SEED
from netdyno.cli.console import Json, emit, print_table, progress, say
from netdyno.cli.options import (
    DATA,
    DURATION,
    FOLDER,
    LIMIT,
    RUN,
    SPACE,
    TABLE,
    Choice,
    Form,
    InputOr,
    argument,
    option,
    whole,
)
from netdyno.cli.resuming import resumable

if TYPE_CHECKING:
    from netdyno.nas.search.front import Front
    from netdyno.nas.space import Population, Space


def _methods() -> Iterable[str]:
    from netdyno.nas.search import SEARCHERS
    from netdyno.nas.search.differentiable import FORMULATIONS

    return [*SEARCHERS.names(), *FORMULATIONS.names()]


def _objectives() -> Iterable[str]:
    from netdyno.targets import COSTS, NAMES

    return [*NAMES, *COSTS.values(), "accuracy_pct"]


ACCURACY = InputOr("ACCURACY", "supernet or predictor", file=True, word="train", more=True)
METHOD = Choice("METHOD", "search method", _methods)
OBJECTIVE = Choice("OBJECTIVE", "objective", _objectives)
SETTING = Form("NAME=VALUE", r"(?s)[A-Za-z_]\w*=.+", "--set population=200")


def search(
    space: Annotated[str, argument(SPACE, "A space, e.g. ofa-mobilenetv3:width=1.2,resolutions=160/192/224.")],
    out: Annotated[Path, option(FOLDER, "Folder for the run.")],
    table: Annotated[Path | None, option(TABLE, "Lookup table for latency, memory, energy, power.")] = None,
    accuracy: Annotated[
        Path | None,
        option(ACCURACY, "A trained supernet's folder, a published predictor (.pth), or train:steps=400."),
    ] = None,
    objective: Annotated[
        list[str] | None, option(OBJECTIVE, "accuracy, latency, memory, energy, macs, params, …; repeatable.")
    ] = None,
    constraint: Annotated[
        list[str] | None, option(LIMIT, "A limit such as 'latency_ms<=30' or 'accuracy>=75'; repeatable.")
    ] = None,
    method: Annotated[
        str, option(METHOD, "ofa2, ofa, linas, single-path, sms-emoa, motpe, …; any other name lists all.")
    ] = "ofa2",
    setting: Annotated[
        list[str] | None, option(SETTING, "A setting of the method, e.g. population=200; repeatable.", "--set")
    ] = None,
    start: Annotated[Path | None, option(RUN, "A run whose front this search begins with.")] = None,
    data: Annotated[str, option(DATA, "Data set: digits, mnist:FOLDER or cifar10:FOLDER.")] = "digits",
    evaluations: Annotated[
        int | None, option(whole(EVALUATIONS), "Architectures to evaluate; default: 100,000.")
    ] = None,
    budget: Annotated[
        float | None, option(DURATION, "Time for it, e.g. 10min; default: as long as it takes.")
    ] = None,
    seed: Annotated[int, option(whole(SEED), "Of the search.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier search left in the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Search a space for the architectures that no other beats in every objective.

    Differentiable methods (single-path, multi-path-gumbel, …) train one network under a latency limit instead.
    """
    from netdyno.base.errors import InputError
    from netdyno.base.files import require_writable
    from netdyno.nas.search import find_searcher
    from netdyno.nas.search import search as run_search
    from netdyno.nas.search.differentiable import FORMULATIONS
    from netdyno.nas.space import parse_space
    from netdyno.runs import JOURNAL, NETWORKS, forget_search, write_run
    from netdyno.targets import Targets, split_constraint, trains

    chosen = parse_space(space)
    names = objective or ["latency", "accuracy"]
    limits = constraint or []
    limit_s = math.inf if budget is None else budget
    options = _settings(setting or [])
    if method in FORMULATIONS.names():
        chosen_too = {"--accuracy": accuracy, "--start": start, "--objective": objective, "--budget": budget}
        for name, given in {**chosen_too, "--evaluations": evaluations}.items():
            if given:
                raise InputError(f"{method} trains what it finds, in --set steps=N: leave {name} out")
        if table is None:
            raise InputError(f"{method} needs --table")
        _descend(chosen, method, table, out, data, limits, options, seed, fresh, as_json)
        return
    find_searcher(method, options)
    asked = Targets(chosen, table, accuracy, seed)
    for name in [*names, *(split_constraint(text)[0] for text in limits)]:
        asked.require(name)
    first = None if start is None else _front_of(start, chosen)
    require_writable(out)
    if fresh:
        forget_search(out)
    with progress() as tell:
        targets = Targets(chosen, table, accuracy, seed, tell, data, out / NETWORKS)
        objectives = [targets.objective(name) for name in names]
        constraints = [targets.constraint(text) for text in limits]
        with resumable(fresh=fresh):
            front = run_search(
                chosen,
                objectives,
                method,
                evaluations or 100_000,
                seed,
                tell,
                constraints=constraints,
                start=first,
                journal=out / JOURNAL,
                identity={**targets.identity(), "start": None if first is None else first.tolist()},
                limit_s=limit_s,
                **options,
            )
    descriptor: dict[str, Any] = {
        "method": method,
        "settings": options,
        "seed": seed,
        "evaluations": front.evaluations,
        "objectives": list(front.objectives),
        "constraints": limits,
        "table": _absolute(table),
        "supernet": _absolute(accuracy) if accuracy and accuracy.is_dir() else None,
    }
    if accuracy is not None and trains(accuracy):
        descriptor |= {"networks": NETWORKS, "data": data, "trainings": _trainings(out / NETWORKS)}
    write_run(out, descriptor, front)
    _tell(front, out, as_json)


def _trainings(folder: Path) -> dict[str, Any]:
    """How many networks were trained by their own recipes, and what giving up on some of them has saved; tells it."""
    from netdyno.nas.accuracy.trained import read_courses

    courses = read_courses(folder)
    if not courses:
        return {}
    known: dict[str, Any] = {
        "trained": len(courses),
        "given_up": sum(course.given_up for course in courses),
        "died": sum(bool(course.fault) for course in courses),
        "faults": sorted({course.fault for course in courses if course.fault}),
        "seconds": sum(course.seconds for course in courses),
        "saved_s": sum(course.saved_s for course in courses),
    }
    say(
        f"{known['trained']} networks trained in {known['seconds']:.0f} s; {known['given_up']} given up early, "
        f"which saved {known['saved_s']:.0f} s"
    )
    for fault in known["faults"]:
        say(f"a training died: {fault}")
    return known


def _descend(
    space: Space,
    method: str,
    table: Path,
    out: Path,
    data: str,
    limits: list[str],
    options: dict[str, Any],
    seed: int,
    fresh: bool,
    as_json: bool,
) -> None:
    from netdyno.base.registry import require

    require("torch", extra="train", purpose="a differentiable search")
    from netdyno.descent import make_task, run_descent
    from netdyno.tuning import run_tuning

    run = run_tuning if "tune" in options else run_descent
    with resumable(fresh=fresh), progress() as tell:
        task = make_task(space, method, table, data=data, constraints=limits, seed=seed)
        found = run(task, out, options, fresh=fresh, progress=tell)
    say(f"{found.metric} {found.cost:.4g}, {found.accuracy_pct:.1f} % on {data}'s validation images -> {out}")
    (architecture,) = space.decode(found.genes)
    if as_json:
        known = {"architecture": architecture, found.metric: found.cost, "accuracy_pct": found.accuracy_pct}
        emit({"run": str(out), "genes": found.genes.tolist(), **known, "penalty": found.penalty})
        return
    print_table(("layer", "option"), [(name, str(value[0])) for name, value in architecture.items()])


def _tell(front: Front, out: Path, as_json: bool) -> None:
    say(f"{front.evaluations} evaluations, {len(front)} on the front -> {out}")
    if as_json:
        emit({"run": str(out), "objectives": front.objectives, "F": front.F.tolist(), "X": front.X.tolist()})
        return
    step = max(len(front) // 12, 1)
    print_table(
        ("", *front.objectives), [(str(i), *(f"{v:.5g}" for v in front.F[i])) for i in range(0, len(front), step)]
    )


def _settings(texts: list[str]) -> dict[str, Any]:
    """Settings by name, values as JSON where they are that."""
    from netdyno.base.errors import InputError

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()) or name in {"evaluate", "seed"}:
            raise InputError(f"not a setting: {text!r}; write --set population=200")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found


def _front_of(path: Path, space: Space) -> Population:
    from netdyno.base.errors import InputError
    from netdyno.runs import load_run

    run = load_run(path)
    if run.space.parameters != space.parameters or run.space.name != space.name:
        raise InputError(f"{path}: a run in {run.space}, not in {space}")
    return run.front.X


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
