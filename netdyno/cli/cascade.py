"""``netdyno cascade``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from netdyno.base.ranges import EVALUATIONS, NETWORKS, SEED
from netdyno.cli.console import Json, emit, print_table, progress, say
from netdyno.cli.options import (
    DATA,
    DURATION,
    FOLDER,
    FORMATS,
    LIMIT,
    SPACE,
    TABLE,
    Choice,
    Real,
    argument,
    option,
    whole,
)
from netdyno.cli.resuming import resumable


def _methods() -> Iterable[str]:
    from netdyno.nas.adaptive.optimise import METHODS

    return METHODS


COST = Real("X", 0, 1e6)
METHOD = Choice("METHOD", "way to find a cascade", _methods)
METRIC = Choice("METRIC", "cost of cascades", lambda: ("energy", "energy_mj", "latency", "latency_ms"))
TRAINING = Choice("TRAINING", "way to train", lambda: ("train",), more=True)


def cascade(
    space: Annotated[str, argument(SPACE, "A space, e.g. cnn-caffenet:resolution=16,width=0.1.")],
    table: Annotated[Path, option(TABLE, "Lookup table of the device.")],
    constraint: Annotated[str, option(LIMIT, "'accuracy>=95', 'loss<=1' (points), or 'latency_ms<=0.5'.")],
    out: Annotated[Path, option(FOLDER, "Folder for networks, the cascades found, and a bundle.")],
    networks: Annotated[int, option(whole(NETWORKS), "How many, from the smallest to the largest.")] = 2,
    metric: Annotated[
        str | None, option(METRIC, "What an image costs: energy, where the table has it, or latency.")
    ] = None,
    method: Annotated[str, option(METHOD, "bo-plus, bo, random, static or grid.")] = "bo-plus",
    evaluations: Annotated[int, option(whole(EVALUATIONS), "Cascades to train.")] = 25,
    accuracy: Annotated[str, option(TRAINING, "How networks are trained.")] = "train:steps=500",
    data: Annotated[str, option(DATA, "Data set: digits, mnist:FOLDER or cifar10:FOLDER.")] = "digits",
    server: Annotated[Path | None, option(TABLE, "Table of a server that runs the last network.")] = None,
    round_trip: Annotated[float | None, option(DURATION, "Time to the server and back, e.g. 4ms.")] = None,
    idle_w: Annotated[float, option(COST, "Power that the device draws while it waits.")] = 0.0,
    radio_mj: Annotated[float, option(COST, "Energy of sending an image and receiving the answer.")] = 0.0,
    seed: Annotated[int, option(whole(SEED), "Of the search.")] = 0,
    to: Annotated[Sequence[str], option(FORMATS, "Comma-separated: onnx, tflite.")] = ("onnx", "tflite"),
    as_json: Json = False,
) -> None:
    """Find small networks that answer what is easy, and larger ones for the rest: sizes and thresholds together."""
    from netdyno.base.errors import InputError
    from netdyno.base.registry import require
    from netdyno.nas.adaptive.execution import Link
    from netdyno.nas.space import parse_space

    chosen = parse_space(space)
    if (server is None) != (round_trip is None):
        raise InputError("a server needs --server, its table, and --round-trip, the time to it and back")
    require("torch", extra="train", purpose="training networks")
    from netdyno.cascades import Cascades, Server, choose_metric, find_cascade, make_goal
    from netdyno.runs import CASCADES

    where = None
    if server is not None and round_trip is not None:
        where = Server(server, Link(1000 * round_trip, idle_w, radio_mj))
    cost = choose_metric(table, metric or "")
    if not metric and cost == "latency_ms":
        say("the table has no energy: cascades cost latency")
    with resumable(), progress() as tell:
        cascades = Cascades(
            chosen, table, out, metric=cost, data=data, training=accuracy, server=where, progress=tell
        )
        design = find_cascade(cascades, networks, make_goal(constraint, cascades), method, evaluations, seed, tell)
    bundle, facts = cascades.ship(design, list(to))
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
