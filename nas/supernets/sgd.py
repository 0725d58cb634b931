"""Train a network by the recipe that its genes say, and give up on it early where that leads nowhere.

Stochastic gradient descent with momentum, the learning rate rising and falling as in every training here. Nothing
keeps a bad recipe from diverging, and none has to be trained to its end to be known: what is no better than chance
after a share of the steps will not be later. Source: Stamoulis 2020, section 3.3.3.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from netdyno.base.errors import InputError
from netdyno.base.progress import Progress, silent
from netdyno.base.ranges import BATCH, SEED, STEPS
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.supernets.recipe import one_cycle
from netdyno.nas.supernets.subnet import Subnet
from netdyno.nas.supernets.train import tensors_for

RECENT = 20
"""Steps whose mean loss is watched."""
CHANCE = 0.98
"""Share of a guess's cross-entropy above which a training has learnt nothing."""


@dataclass(frozen=True)
class Sgd:
    """How networks that say their own recipe are trained: ``steps`` of ``batch`` images.

    After the share ``patience`` of the steps those that are no better than chance are given up; 1 trains all to their
    end.
    """

    steps: int = 400
    batch: int = 64
    patience: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for numbers, value in ((STEPS, self.steps), (BATCH, self.batch), (SEED, self.seed)):
            numbers.check(value)
        if not 0 < self.patience <= 1:
            raise InputError(f"patience must be above 0 and at most 1, not {self.patience:g}")


@dataclass(frozen=True)
class Course:
    """How a training went: steps of those planned, seconds they took, whether it was given up, what it died of."""

    steps: int
    planned: int
    seconds: float
    given_up: bool = False
    fault: str = ""

    @property
    def saved_s(self) -> float:
        """Seconds that the steps which were not made would have taken."""
        return self.seconds * (self.planned / self.steps - 1) if self.steps else 0.0


def train_sgd(
    network: Subnet, data: Dataset, recipe: Mapping[str, float], training: Sgd, progress: Progress = silent
) -> Course:
    """Train in place with the recipe's ``learning_rate``, ``momentum`` and ``weight_decay``.

    Raises:
        InputError: the data has another number of classes than the network.
    """
    images, labels = tensors_for(network, data)
    generator = np.random.default_rng(training.seed)
    optimiser = torch.optim.SGD(
        network.parameters(), momentum=recipe["momentum"], weight_decay=recipe["weight_decay"]
    )
    watched_from = max(round(training.patience * training.steps), 1)
    losses: list[float] = []
    began = time.monotonic()
    network.train()
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, training.steps, recipe["learning_rate"])
        chosen = torch.from_numpy(generator.integers(len(data), size=training.batch))
        optimiser.zero_grad()
        loss = F.cross_entropy(network(images[chosen]), labels[chosen])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        recent = float(np.mean(losses[-RECENT:]))
        progress("train", step + 1, training.steps, f"loss {recent:.2f}")
        hopeless = step + 1 >= watched_from and recent > CHANCE * math.log(len(data.classes))
        if training.patience < 1 and (hopeless or not math.isfinite(losses[-1])):
            break
    network.eval()
    given_up = len(losses) < training.steps
    return Course(len(losses), training.steps, time.monotonic() - began, given_up)
