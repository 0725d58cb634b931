"""Train a supernet by sampling subnets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from netdyno.base.errors import InputError
from netdyno.base.progress import Progress, silent
from netdyno.base.ranges import SEED, STEPS, TRAINING_BATCH
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.space import Population
from netdyno.nas.supernets.recipe import CLIP, SMOOTHING, one_cycle, optimiser_of
from netdyno.nas.supernets.subnet import Subnet, resize
from netdyno.nas.supernets.supernet import Supernet

SMALLEST_EVERY = 4


@dataclass(frozen=True)
class Training:
    """How a supernet is trained.

    ``steps`` optimiser steps of ``batch`` images; in each the largest subnet learns the labels, and the
    others learn the labels and the largest one's answers in equal parts: ``random_subnets`` random ones, and the
    smallest every fourth step (the sandwich rule with in-place distillation, Yu & Huang 2019).
    """

    steps: int = 400
    batch: int = 64
    learning_rate: float = 8e-3
    weight_decay: float = 1e-2
    random_subnets: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for numbers, value in ((STEPS, self.steps), (TRAINING_BATCH, self.batch), (SEED, self.seed)):
            numbers.check(value)
        if self.random_subnets < 0 or not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise InputError("a training's learning rate is positive; its weight decay and subnets are not negative")


def train_supernet(
    supernet: Supernet,
    data: Dataset,
    training: Training = Training(),
    progress: Progress = silent,
) -> list[float]:
    """Train in place; returns the largest subnet's loss at each step.

    Raises:
        InputError: the data has another number of classes than the space.
    """
    if len(data.classes) != supernet.space.classes:
        raise InputError(f"{data.name} has {len(data.classes)} classes, the space {supernet.space.classes}")
    torch.manual_seed(training.seed)
    generator = np.random.default_rng(training.seed)
    # Channels last: convolutions on CPUs run about three times faster so.
    images = torch.from_numpy(data.images).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(data.labels)
    optimiser = optimiser_of(supernet.parameters(), training.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=training.learning_rate, total_steps=training.steps, pct_start=0.1
    )
    supernet.train()
    losses: list[float] = []
    for step in range(training.steps):
        chosen = torch.from_numpy(generator.integers(len(data), size=training.batch))
        optimiser.zero_grad()
        students = [*supernet.space.sample(training.random_subnets, generator)]
        if step % SMALLEST_EVERY == 0:
            students.append(supernet.space.smallest())
        losses.append(_sandwich(supernet, images[chosen], labels[chosen], students))
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        progress("train", step + 1, training.steps, f"loss {np.mean(losses[-20:]):.2f}")
    supernet.eval()
    return losses


def train_network(
    network: Subnet, data: Dataset, training: Training = Training(), progress: Progress = silent
) -> list[float]:
    """Train a plain network in place, of the settings with what concerns a supernet left out; each step's loss.

    Raises:
        InputError: the data has another number of classes than the network.
    """
    images, labels = tensors_for(network, data)
    generator = np.random.default_rng(training.seed)
    optimiser = optimiser_of(network.parameters(), training.weight_decay)
    network.train()
    losses: list[float] = []
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, training.steps, training.learning_rate)
        chosen = torch.from_numpy(generator.integers(len(data), size=training.batch))
        optimiser.zero_grad()
        loss = F.cross_entropy(network(images[chosen]), labels[chosen], label_smoothing=SMOOTHING)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimiser.step()
        losses.append(loss.item())
        progress("train", step + 1, training.steps, f"loss {np.mean(losses[-20:]):.2f}")
    network.eval()
    return losses


def tensors_for(network: Subnet, data: Dataset) -> tuple[Tensor, Tensor]:
    """Images at a network's input size ``(n, 3, r, r)``, channels last, and labels ``(n,)``.

    Raises:
        InputError: the data has another number of classes than the network.
    """
    if len(data.classes) != network.space.classes:
        raise InputError(f"{data.name} has {len(data.classes)} classes, the network {network.space.classes}")
    images = resize(torch.from_numpy(data.images), network.resolution)
    return images.contiguous(memory_format=torch.channels_last), torch.from_numpy(data.labels)


def _sandwich(supernet: Supernet, images: Tensor, labels: Tensor, students: Sequence[Population]) -> float:
    """Gradients of one step, the largest subnet first; returns its loss."""
    space = supernet.space

    def logits(genes: Population) -> Tensor:
        answer: Tensor = supernet(resize(images, space.resolution(genes)), genes)
        return answer

    teacher = logits(space.largest())
    loss = F.cross_entropy(teacher, labels, label_smoothing=SMOOTHING)
    loss.backward()  # type: ignore[no-untyped-call]
    # Half of the answer is the label: early on the teacher knows nothing yet.
    target = (teacher.detach().softmax(1) + F.one_hot(labels, teacher.shape[1])) / 2
    for genes in students:
        F.cross_entropy(logits(genes), target).backward()  # type: ignore[no-untyped-call]
    return loss.item()
