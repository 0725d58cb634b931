"""``netdyno train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from netdyno.base.ranges import SEED, STEPS, TRAINING_BATCH
from netdyno.cli.console import Json, emit, progress, say
from netdyno.cli.options import DATA, FOLDER, SPACE, argument, option, whole


def train(
    space: Annotated[str, argument(SPACE, "A space, e.g. ofa-mobilenetv3:width=0.25,resolutions=48/56/64.")],
    out: Annotated[Path, option(FOLDER, "Folder for the supernet.")],
    data: Annotated[str, option(DATA, "Data set: digits, mnist:FOLDER or cifar10:FOLDER.")] = "digits",
    steps: Annotated[int, option(whole(STEPS), "Optimiser steps.")] = 400,
    batch: Annotated[int, option(whole(TRAINING_BATCH), "Images a step.")] = 64,
    seed: Annotated[int, option(whole(SEED), "Of weights, subnets and batches.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a supernet by sampling subnets."""
    from netdyno.base.files import require_writable
    from netdyno.base.folders import require_replaceable
    from netdyno.base.registry import require
    from netdyno.nas.data import load_data
    from netdyno.nas.space import parse_space

    chosen = parse_space(space)
    require("torch", extra="train", purpose="training")
    from netdyno.nas.supernets.store import OWN_FILES, make_supernet, save_supernet
    from netdyno.nas.supernets.train import Training, train_supernet

    require_writable(out.parent)
    require_replaceable(out, OWN_FILES)
    supernet = make_supernet(chosen, seed)
    training = Training(steps=steps, batch=batch, seed=seed)
    with progress() as tell:
        losses = train_supernet(supernet, load_data(data, "train"), training, tell)
    save_supernet(supernet, out, data=data, training=training)
    say(f"{steps} steps on {data}, last loss {losses[-1]:.2f} -> {out}")
    if as_json:
        emit({"supernet": str(out), "space": str(chosen), "data": data, "steps": steps, "last_loss": losses[-1]})
