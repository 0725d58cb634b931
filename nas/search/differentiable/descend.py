"""Train a relaxation: cross-entropy plus λ times the logarithm of the runtime, weights and architecture together.

With a target, λ is a multiplier that the training finds: it grows while the architecture is too slow and falls while
it is too fast, so that one training ends where several with different λ would have been needed.
Source of the loss: Stamoulis et al. 2019, Eq. 10; Stamoulis 2020, section 5.2.4.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from netdyno.base.errors import InputError
from netdyno.base.progress import Progress, silent
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.search.differentiable.checkpoint import (
    Packed,
    load_checkpoint,
    pack,
    pack_adam,
    save_checkpoint,
    unpack,
    unpack_adam,
)
from netdyno.nas.search.differentiable.fit import fit
from netdyno.nas.search.differentiable.optimiser import SharedAdam
from netdyno.nas.search.differentiable.relaxation import Relaxation
from netdyno.nas.search.differentiable.runtime import fastest
from netdyno.nas.space import Population
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.nas.supernets.recipe import CLIP, SMOOTHING, one_cycle, optimiser_of
from netdyno.nas.supernets.subnet import resize
from netdyno.profiler.cost.cost import LayerCost

HELD_OUT = 0.2
"""Share of the images that a bilevel search's architecture learns from, and its weights do not."""
COLUMNS = ("loss", "expected", "runtime", "penalty")
"""Of a step: the weights' loss, the runtime that the loss knows, that of the architecture as it stands, and λ."""
INTEGRAL, PROPORTIONAL = 0.2, 4.0
"""Powers of runtime by target: what λ is multiplied with for good in each step, and what for that step alone."""
APPROACH = 0.7
"""Share of the steps after the warm-up in which a target is approached."""
PENALTIES = (1e-4, 1e2)
"""Least and largest λ that a target may lead to."""
_KEEP_S, _KEEP_SHARE = 2.0, 0.05
"""A checkpoint is written this often, or less often where that would take a larger share of the time."""


@dataclass(frozen=True)
class Descent:
    """How a relaxation is trained.

    ``penalty`` is λ; with a ``target``, the largest runtime wanted, what it begins at. In the first share of the
    steps, ``warm_up``, the architecture rests, and parts of layers are left out with a probability of ``dropout``, so
    that what lies inside learns to do without what lies outside.

    Raises:
        InputError: a setting that cannot be.
    """

    steps: int = 400
    batch: int = 64
    learning_rate: float = 8e-3
    weight_decay: float = 1e-2
    architecture_rate: float = 1e-2
    penalty: float = 0.03
    target: float | None = None
    warm_up: float = 0.4
    dropout: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2:
            raise InputError("a search needs at least one step, and two images in a batch")
        rates = (self.learning_rate, self.weight_decay, self.architecture_rate, self.penalty)
        if not all(np.isfinite(rate) and rate >= 0 for rate in rates):
            raise InputError(f"rates and the penalty are positive numbers or zero, not {list(rates)}")
        if self.target is not None and not (0 < self.target < np.inf and self.penalty > 0):
            raise InputError("a target, and the penalty that it begins with, are positive numbers")
        if not (0 <= self.warm_up <= 1 and 0 <= self.dropout < 1):
            raise InputError("the warm-up is a share from 0 to 1, the dropout from 0 to below 1")


@dataclass(frozen=True)
class Descended:
    """Where a training led: ``history (steps, 4)`` of :data:`COLUMNS`, and ``architectures (steps, genes)``.

    ``genes (genes,)`` is the result: the architecture of the step ``chosen``, fitted to the target.
    ``leads`` are those of the relaxation at the end.
    """

    history: NDArray[np.float64]
    architectures: Population
    chosen: int
    genes: Population
    leads: dict[str, NDArray[np.float64]]


def descend(
    relaxation: Relaxation,
    cost: LayerCost,
    data: Dataset,
    descent: Descent = Descent(),
    progress: Progress = silent,
    keep: Path | None = None,
    identity: str = "",
) -> Descended:
    """Train in place and read the architecture off: the last one, or a late one, fitted to the target.

    ``cost`` is what the relaxation's runtime is the expectation of. With ``keep``, a file, the same call goes on
    where it was cut off, and ends where it would have ended; ``identity`` says what the cost stands on.

    Raises:
        InputError: the data has another number of classes than the space, no architecture is as fast as the target,
            the loss is no number any more, or the file is another search's.
    """
    space = relaxation.space
    if len(data.classes) != space.classes:
        raise InputError(f"{data.name} has {len(data.classes)} classes, the space {space.classes}")
    if descent.target is not None:
        require_reachable(descent.target, cost, space)
    training = _Training(relaxation, cost, data, descent)
    owner = json.dumps([identity, str(space), data.name, asdict(descent), relaxation.formulation])
    first = training.resume(keep, owner)
    due = time.monotonic() + _KEEP_S
    relaxation.train()
    for step in range(first, descent.steps):
        training.step(step)
        loss, runtime = training.history[max(step - 19, 0) : step + 1, (0, 2)].mean(axis=0)
        progress("descend", step + 1, descent.steps, f"loss {loss:.2f}, {cost.name} {runtime:.4g}")
        if keep is not None and (step + 1 == descent.steps or time.monotonic() > due):
            began = time.monotonic()
            save_checkpoint(keep, owner, training.state(step + 1))
            due = time.monotonic() + max(_KEEP_S, (time.monotonic() - began) / _KEEP_SHARE)
    relaxation.eval()
    chosen = _choose(training.history[:, 2], descent)
    genes: Population = training.architectures[chosen]
    if descent.target is not None:
        genes = fit(genes, relaxation.reluctance(), cost, space, descent.target)
    return Descended(training.history, training.architectures, chosen, genes, relaxation.leads())


def require_reachable(target: float, cost: LayerCost, space: SinglePath) -> None:
    """Make sure that some architecture keeps to a target.

    Raises:
        InputError: none does; the message tells what the fastest takes.
    """
    if (least := float(cost(fastest(cost, space)[None])[0])) > target:
        raise InputError(f"{cost.name} <= {target:g}: the fastest network of {space.name} takes {least:.4g}")


def _choose(runtimes: NDArray[np.float64], descent: Descent) -> int:
    """The step to take the architecture from: late, when the weights know most."""
    if descent.target is None:
        return len(runtimes) - 1
    good = np.flatnonzero(runtimes <= descent.target)
    if not len(good):
        return len(runtimes) - 1
    late = good[good >= 0.8 * len(runtimes)]
    return int(late[runtimes[late].argmax()] if len(late) else good[-1])


class _Training:
    """A relaxation with its optimisers; what a step draws follows from its number, so any step can be the first."""

    def __init__(self, relaxation: Relaxation, cost: LayerCost, data: Dataset, descent: Descent) -> None:
        self.relaxation, self.cost, self.descent = relaxation, cost, descent
        images = resize(torch.from_numpy(data.images), relaxation.space.side)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.from_numpy(data.labels)
        held = round(HELD_OUT * len(data)) if relaxation.bilevel else 0
        order = np.random.default_rng(descent.seed).permutation(len(data))
        self.held, self.taught = order[:held], order[held:]
        self.weights = optimiser_of(relaxation.weights(), descent.weight_decay)
        self.architecture = SharedAdam(relaxation.architecture(), descent.architecture_rate)
        self.history = np.zeros((descent.steps, len(COLUMNS)))
        self.architectures = np.zeros((descent.steps, len(relaxation.space.cardinalities)), np.int64)

    def step(self, step: int) -> None:
        """One step of the weights and, after the warm-up, one of the architecture.

        Raises:
            InputError: the loss is no number any more.
        """
        generator = np.random.default_rng([self.descent.seed, step])
        torch.manual_seed(int(generator.integers(2**31)))
        warming = step < self.descent.warm_up * self.descent.steps
        penalty, pull = self._penalty(step, warming)
        if warming:
            loss, expected = self._train_weights(step, generator, None, self.descent.dropout)
        elif self.relaxation.bilevel:
            loss, _ = self._train_weights(step, generator, None)
            expected = self._train_architecture(generator, pull)
        else:
            loss, expected = self._train_weights(step, generator, pull)
            self.architecture.step()
            self.relaxation.settle()
        genes = self.relaxation.genes()
        self.history[step] = loss, expected, float(self.cost(genes[None])[0]), penalty
        self.architectures[step] = genes
        if not np.isfinite(self.history[step]).all():
            raise InputError(f"the loss of step {step} is {loss}: take a smaller learning_rate")

    def _penalty(self, step: int, warming: bool) -> tuple[float, float]:
        """λ as the target has it by now, and the one for this step alone, which also pulls by how far it is off."""
        penalty = float(self.history[step - 1, 3]) if step else self.descent.penalty
        if self.descent.target is None or warming or not step:
            return penalty, penalty
        beyond = float(self.history[step - 1, 2]) / self._aim(step, self.descent.target)
        penalty = float(np.clip(penalty * beyond**INTEGRAL, *PENALTIES))
        return penalty, float(np.clip(penalty * beyond**PROPORTIONAL, *PENALTIES))

    def _aim(self, step: int, target: float) -> float:
        """What the architecture is to come down to by a step: the target, approached at an even pace.

        Where all has to go at once, what would be missed most has no time to show it.
        """
        first = math.ceil(self.descent.warm_up * self.descent.steps)
        done = (step - first) / max(APPROACH * (self.descent.steps - first), 1)
        return float(self.history[0, 2] ** (1 - min(done, 1)) * target ** min(done, 1))

    def _train_weights(
        self, step: int, generator: np.random.Generator, penalty: float | None, dropout: float = 0.0
    ) -> tuple[float, float]:
        """A step of the weights; with a penalty, gradients of the architecture too. The loss and the runtime."""
        for group in self.weights.param_groups:
            group["lr"] = one_cycle(step, self.descent.steps, self.descent.learning_rate)
        self._clear(architecture=penalty is not None)
        loss, runtime = self._loss(self.taught, generator, dropout)
        (loss if penalty is None else loss + penalty * runtime.log()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.relaxation.weights(), CLIP)
        self.weights.step()
        return loss.item(), runtime.item()

    def _train_architecture(self, generator: np.random.Generator, penalty: float) -> float:
        """A step of the architecture, on images that the weights do not learn from; the runtime."""
        self._clear(architecture=True)
        loss, runtime = self._loss(self.held, generator, 0.0)
        (loss + penalty * runtime.log()).backward()  # type: ignore[no-untyped-call]
        self.architecture.step()
        self.relaxation.settle()
        return runtime.item()

    def _loss(
        self, among: NDArray[np.int64], generator: np.random.Generator, dropout: float
    ) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(among[generator.integers(len(among), size=self.descent.batch)])
        logits, runtime = self.relaxation(self.images[chosen], dropout)
        return F.cross_entropy(logits, self.labels[chosen], label_smoothing=SMOOTHING), runtime

    def _clear(self, *, architecture: bool) -> None:
        """No gradients, and whether there will be some of the architecture."""
        self.weights.zero_grad()
        self.architecture.zero_grad()
        for parameter in self.relaxation.architecture():
            parameter.requires_grad_(architecture)

    def state(self, steps: int) -> dict[str, Packed]:
        """What :meth:`resume` goes on from, after so many steps."""
        return {
            "steps": {"history": torch.from_numpy(self.history[:steps])}
            | {"architectures": torch.from_numpy(self.architectures[:steps])},
            "relaxation": pack(self.relaxation.state_dict().values()),
            "weights": pack_adam(self.weights),
            "architecture": pack_adam(self.architecture),
        }

    def resume(self, path: Path | None, owner: str) -> int:
        """Go back to where a training stood; the number of its next step, 0 where there was none.

        Raises:
            InputError: the file is another training's, or damaged.
        """
        state = None if path is None else load_checkpoint(path, owner)
        if state is None:
            return 0
        try:
            steps = len(state["steps"]["history"])
            self.history[:steps] = state["steps"]["history"].numpy()
            self.architectures[:steps] = state["steps"]["architectures"].numpy()
            unpack(state["relaxation"], self.relaxation.state_dict().values())
            unpack_adam(state["weights"], self.weights)
            unpack_adam(state["architecture"], self.architecture)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise InputError(f"{path}: not the checkpoint of such a search: {error}") from error
        return steps
