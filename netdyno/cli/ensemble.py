"""``netdyno ensemble``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdyno.cli.console import Json, emit, print_table, progress, say
from netdyno.cli.resuming import resumable


def ensemble(
    run: Annotated[Path, typer.Argument(help="A run's folder, searched with a table and a supernet.")],
    out: Annotated[Path, typer.Option(help="Folder for the ensembles, and a bundle of one of them.")],
    voting: Annotated[str, typer.Option(help="soft: probabilities are added; hard: a vote each.")] = "soft",
    latency: Annotated[str, typer.Option(help="sum: one after another; max: all at once.")] = "sum",
    pool: Annotated[int, typer.Option(min=2, help="Subnets to form them of: the front's, and random ones.")] = 100,
    evaluations: Annotated[int, typer.Option(min=1, help="Ensembles to evaluate.")] = 5000,
    seed: Annotated[int, typer.Option(help="Of the pool and the evolution.")] = 0,
    point: Annotated[int, typer.Option(help="Which to ship, counted from the fastest; default: the last.")] = -1,
    to: Annotated[str, typer.Option(help="Comma-separated: onnx, tflite.")] = "onnx,tflite",
    as_json: Json = False,
) -> None:
    """Form ensembles of a run's subnets that no other beats in latency and accuracy, and ship one."""
    from typing import cast

    from netdyno.base.errors import InputError, UnknownName
    from netdyno.base.registry import require
    from netdyno.nas.ensembles.ensemble import TOGETHER, Together, count
    from netdyno.nas.ensembles.vote import VOTINGS, Voting
    from netdyno.runs import load_run

    for kind, name, known in (("voting", voting, VOTINGS), ("way to run members together", latency, TOGETHER)):
        if name not in known:
            raise UnknownName(kind, name, known)
    loaded = load_run(run)
    require("torch", extra="train", purpose="an ensemble of subnets")
    from netdyno.ensembles import BUNDLE, ENSEMBLES, Scenario, form_ensembles

    scenario = Scenario(cast(Voting, voting), cast(Together, latency))
    with resumable(), progress() as tell:
        formed, front = form_ensembles(loaded, out, pool, scenario, evaluations, seed, tell)
    if not -len(front) <= point < len(front):
        raise InputError(f"{out / ENSEMBLES} has {len(front)} ensembles, none at {point}")
    bundle, facts = formed.ship(front.members[point], out / BUNDLE, [name.strip() for name in to.split(",")])
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
