"""``netdyno ensemble``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from netdyno.base.ranges import EVALUATIONS, POOL, SEED
from netdyno.cli.console import Json, emit, print_table, progress, say
from netdyno.cli.options import FOLDER, FORMATS, POINT, RUN, Choice, argument, option, whole
from netdyno.cli.resuming import resumable


def _votings() -> Iterable[str]:
    from netdyno.nas.ensembles.vote import VOTINGS

    return VOTINGS


def _together() -> Iterable[str]:
    from netdyno.nas.ensembles.ensemble import TOGETHER

    return TOGETHER


VOTING = Choice("VOTING", "voting", _votings)
LATENCY = Choice("SUM|MAX", "way to run members together", _together)


def ensemble(
    run: Annotated[Path, argument(RUN, "A run's folder, searched with a table and a supernet.")],
    out: Annotated[Path, option(FOLDER, "Folder for the ensembles, and a bundle of one of them.")],
    voting: Annotated[str, option(VOTING, "soft: probabilities are added; hard: a vote each.")] = "soft",
    latency: Annotated[str, option(LATENCY, "sum: one after another; max: all at once.")] = "sum",
    pool: Annotated[int, option(whole(POOL), "Subnets to form them of: the front's, and random ones.")] = 100,
    evaluations: Annotated[int, option(whole(EVALUATIONS), "Ensembles to evaluate.")] = 5000,
    seed: Annotated[int, option(whole(SEED), "Of the pool and the evolution.")] = 0,
    point: Annotated[int, option(POINT, "Which to ship, counted from the fastest; default: the last.")] = -1,
    to: Annotated[Sequence[str], option(FORMATS, "Comma-separated: onnx, tflite.")] = ("onnx", "tflite"),
    as_json: Json = False,
) -> None:
    """Form ensembles of a run's subnets that no other beats in latency and accuracy, and ship one."""
    from typing import cast

    from netdyno.base.errors import InputError
    from netdyno.base.registry import require
    from netdyno.nas.ensembles.ensemble import Together, count
    from netdyno.nas.ensembles.vote import Voting
    from netdyno.runs import load_run

    if not -evaluations <= point < evaluations:
        raise InputError(f"--point {point}: {evaluations} evaluations find no more ensembles than that")
    loaded = load_run(run)
    require("torch", extra="train", purpose="an ensemble of subnets")
    from netdyno.ensembles import BUNDLE, ENSEMBLES, Scenario, form_ensembles

    scenario = Scenario(cast(Voting, voting), cast(Together, latency))
    with resumable(), progress() as tell:
        formed, front = form_ensembles(loaded, out, pool, scenario, evaluations, seed, tell)
    if not -len(front) <= point < len(front):
        raise InputError(f"{out / ENSEMBLES} has {len(front)} ensembles, none at {point}")
    bundle, facts = formed.ship(front.members[point], out / BUNDLE, list(to))
    say(f"{len(front)} ensembles -> {out / ENSEMBLES}; {len(bundle.members)} members -> {bundle.path}")
    if as_json:
        emit({"ensembles": str(out / ENSEMBLES), "bundle": str(bundle.path), "facts": facts, "F": front.F.tolist()})
        return
    sizes, step = count(front.members), max(len(front) // 12, 1)
    shown = range(0, len(front), step)
    print_table(
        ("", "members", *front.objectives),
        [(str(i), str(sizes[i]), *(f"{value:.5g}" for value in front.F[i])) for i in shown],
    )
