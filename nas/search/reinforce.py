"""REINFORCE: controllers that learn which options pay, the baseline of the first architecture searches.

Source: Williams 1992, and Zoph & Le 2017, Neural Architecture Search with Reinforcement Learning. Here a controller
is a categorical distribution for each gene, since a list of options needs no recurrent network; several controllers,
each with a trade-off of its own, together find a front.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas import pareto
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.problem import Scores
from netdyno.nas.search.scaling import PENALTY, Scaling
from netdyno.nas.space import Population, Space

Floats = NDArray[np.float64]
_DECAY = 0.9


def search_reinforce(
    evaluate: Evaluator,
    seed: int,
    *,
    controllers: int = 10,
    samples: int = 5,
    rate: float = 0.1,
) -> None:
    """Policy gradients of ``controllers`` trade-offs, each drawing ``samples`` architectures a step.

    A controller is rewarded for the worst of its weighted objectives (Chebyshev), each objective scaled to the extent
    of the first architectures, less the average of its earlier rewards. ``rate`` is the step on the logits. The first
    architectures are those to begin with, which the controllers learn from like from their own.

    Raises:
        InputError: a setting that cannot be.
    """
    if controllers < 1 or samples < 1 or not rate > 0:
        raise InputError("REINFORCE needs a controller, a sample and a rate above zero")
    generator = np.random.default_rng(seed)
    weights = pareto.directions(len(evaluate.problem.objectives), controllers)
    policy = _Policy(evaluate.space, len(weights))
    X = evaluate.space.canonical(evaluate.first(len(weights) * samples, generator))
    reward = _Reward(weights)
    while True:
        policy.learn(X.reshape(len(weights), samples, -1), reward(evaluate(X)), rate)
        X = policy.draw(samples, generator)


class _Policy:
    """Logits of each option of each gene, ``(controllers, genes, options)``; −∞ where a gene has fewer options."""

    def __init__(self, space: Space, controllers: int) -> None:
        self._space = space
        options = np.arange(int(space.cardinalities.max()))
        allowed = np.where(options < space.cardinalities[:, None], 0.0, -np.inf)
        self._logits = np.tile(allowed, (controllers, 1, 1))

    def draw(self, n: int, generator: np.random.Generator) -> Population:
        """``n`` architectures of each controller, ``(controllers · n, genes)``."""
        ends = self._probabilities().cumsum(axis=2)
        controllers, genes, _ = ends.shape
        at = generator.random((controllers, n, genes, 1))
        X: Population = (at >= ends[:, None, :, :-1]).sum(axis=3)
        return self._space.canonical(np.minimum(X, self._space.cardinalities - 1).reshape(-1, genes))

    def learn(self, X: Population, advantage: Floats, rate: float) -> None:
        """One ascent along the gradient of the log-likelihood of ``X (controllers, n, genes)``, by its advantage."""
        probabilities = self._probabilities()
        chosen = X[..., None] == np.arange(probabilities.shape[2])
        active = self._space.active(X.reshape(-1, X.shape[2])).reshape(X.shape)
        gradient = (chosen - probabilities[:, None]) * (active * advantage[..., None])[..., None]
        self._logits += rate * gradient.sum(axis=1)

    def _probabilities(self) -> Floats:
        powers = np.exp(self._logits - self._logits.max(axis=2, keepdims=True))
        shares: Floats = powers / powers.sum(axis=2, keepdims=True)
        return shares


@dataclass
class _Reward:
    """How much better than its average each sample of each controller did, in standard deviations."""

    weights: Floats
    _scaled: Scaling = field(default_factory=Scaling, init=False)
    _ideal: Floats = field(default_factory=lambda: np.zeros(1), init=False)
    _average: Floats | None = field(default=None, init=False)

    def __call__(self, scores: Scores) -> Floats:
        """Advantages ``(controllers, n)``."""
        scaled = self._scaled(scores.F)
        self._ideal = np.minimum(self._ideal, scaled.min(axis=0))
        beyond = (scaled - self._ideal).reshape(len(self.weights), -1, scaled.shape[1])
        reward = -(beyond * self.weights[:, None]).max(axis=2)
        reward -= PENALTY * scores.violation.reshape(len(self.weights), -1)
        mean = reward.mean(axis=1, keepdims=True)
        self._average = mean if self._average is None else _DECAY * self._average + (1 - _DECAY) * mean
        spread = reward.std()
        advantage: Floats = (reward - self._average) / (spread if spread > 0 else 1.0)
        return advantage
