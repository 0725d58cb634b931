"""``netdyno cascade``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdyno.cli.console import Data, Json, emit, print_table, progress, say
from netdyno.cli.resuming import resumable


def cascade(
    space: Annotated[str, typer.Argument(help="A space, e.g. cnn-caffenet:resolution=16,width=0.1.")],
    table: Annotated[Path, typer.Option(help="Lookup table of the device.")],
    constraint: Annotated[str, typer.Option(help="'accuracy>=95', 'loss<=1' (points), or 'latency_ms<=0.5'.")],
    out: Annotated[Path, typer.Option(help="Folder for networks, the cascades found, and a bundle.")],
    networks: Annotated[int, typer.Option(help="How many, from the smallest to the largest.")] = 2,
    metric: Annotated[
        str, typer.Option(help="What an image costs: energy, where the table has it, or latency.")
    ] = "",
    method: Annotated[str, typer.Option(help="bo-plus, bo, random, static or grid.")] = "bo-plus",
    evaluations: Annotated[int, typer.Option(min=1, help="Cascades to train.")] = 25,
    accuracy: Annotated[str, typer.Option(help="How networks are trained.")] = "train:steps=500",
    data: Data = "digits",
    server: Annotated[Path | None, typer.Option(help="Table of a server that runs the last network.")] = None,
    round_trip: Annotated[str, typer.Option(help="Time to the server and back, e.g. 4ms.")] = "",
    idle_w: Annotated[float, typer.Option(help="Power that the device draws while it waits.")] = 0.0,
    radio_mj: Annotated[float, typer.Option(help="Energy of sending an image and receiving the answer.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    to: Annotated[str, typer.Option(help="Comma-separated: onnx, tflite.")] = "onnx,tflite",
    as_json: Json = False,
) -> None:
    """Find small networks that answer what is easy, and larger ones for the rest: sizes and thresholds together."""
    from netdyno.base.errors import InputError
    from netdyno.base.registry import require
    from netdyno.base.units import parse_duration
    from netdyno.nas.adaptive.execution import Link
    from netdyno.nas.space import parse_space

    chosen = parse_space(space)
    if (server is None) != (not round_trip):
        raise InputError("a server needs --server, its table, and --round-trip, the time to it and back")
    require("torch", extra="train", purpose="training networks")
    from netdyno.cascades import Cascades, Server, choose_metric, find_cascade, make_goal
    from netdyno.runs import CASCADES

    where = None
    if server is not None:
        where = Server(server, Link(1000 * parse_duration(round_trip), idle_w, radio_mj))
    cost = choose_metric(table, metric)
    if not metric and cost == "latency_ms":
        say("the table has no energy: cascades cost latency")
    with resumable(), progress() as tell:
        cascades = Cascades(
            chosen, table, out, metric=cost, data=data, training=accuracy, server=where, progress=tell
        )
        design = find_cascade(cascades, networks, make_goal(constraint, cascades), method, evaluations, seed, tell)
    bundle, facts = cascades.ship(design, [name.strip() for name in to.split(",")])
    say(f"{cost} {design.cost:.5g}, {100 - design.error_pct:.2f} % of {data}'s validation images -> {bundle.path}")
    members = [{"genes": genes.tolist(), "architecture": chosen.decode(genes)[0]} for genes in design.X]
    if as_json:
        emit({"bundle": str(bundle.path), "history": str(out / CASCADES), "networks": members, **facts})
        return
    thresholds = [*(f"{each:.4f}" for each in design.thresholds), ""]
    print_table(
        ("network", "answers, validation", "answers, test", "threshold", "genes"),
        [
            (str(i + 1), f"{val:.1f} %", f"{test:.1f} %", threshold, " ".join(map(str, member["genes"])))
            for i, (val, test, threshold, member) in enumerate(
                zip(facts["val_answered_pct"], facts["test_answered_pct"], thresholds, members, strict=True)
            )
        ],
    )
