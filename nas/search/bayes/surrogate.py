"""A Gaussian process over points of the unit cube: what is not evaluated yet, and how little is known of it."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.exceptions.warnings import BotorchWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models.gp_regression import SingleTaskGP
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.utils.warnings import NumericalWarning
from torch import Tensor

from netdyno.nas.search.bayes import Floats

ENOUGH = {"maxiter": 100, "ftol": 1e-6}
"""Of fitting the scales: what comes after that changes no suggestion."""


class Surrogate:
    """A process through ``y (n,)`` at ``points (n, d)`` between 0 and 1; ``log`` models the logarithm of ``y``.

    ``like`` is a surrogate whose scales are taken over instead of being fitted anew.
    """

    def __init__(self, points: Floats, y: Floats, *, log: bool = False, like: Self | None = None) -> None:
        self.points, self.y, self.log = points, y, log
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BotorchWarning)
            self._learn(np.log(y) if log else y, like)

    def __call__(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the truth at ``points (k, d)``, each ``(k,)``; of the logarithm where so."""
        mean, variance = self._posterior(points)
        spread: Floats = variance[:, 0].sqrt().numpy()
        return mean[:, 0].numpy(), spread

    def in_units(self, value: float) -> float:
        """A value in the units that means are in."""
        if not self.log:
            return value
        return float(np.log(value)) if value > 0 else -np.inf

    def believing(self, points: Floats) -> Self:
        """The same, as if ``points (k, d)`` had been evaluated and found as expected (the Kriging believer).

        So that the next of several suggestions is made elsewhere. Source: Ginsbourger et al. 2010.
        """
        mean, _ = self(points)
        values = np.exp(mean) if self.log else mean
        both = np.concatenate([self.points, points]), np.concatenate([self.y, values])
        return type(self)(*both, log=self.log, like=self)

    def _posterior(self, points: Floats) -> tuple[Tensor, Tensor]:
        """Mean and variance of the process, or of each of a batch of them."""
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NumericalWarning)  # a variance of nothing that is rounded below it
            posterior = self._model.posterior(torch.from_numpy(points))
            return posterior.mean, posterior.variance.clamp_min(0)

    def _learn(self, targets: Floats, like: Self | None) -> None:
        self._model: Any = SingleTaskGP(torch.from_numpy(self.points), torch.from_numpy(targets[:, None]))
        if like is None:
            self._fit()
        else:
            self._take_scales(like._model)

    def _fit(self) -> None:
        try:
            fit_scales(self._model, options=ENOUGH)
        except ModelFittingError:  # values that are all alike, for one: its priors are as good as any
            self._model.eval()

    def _take_scales(self, model: Any) -> None:
        """The other's lengths, scale and noise; what was standardised stays this one's own."""
        own = {name: value for name, value in model.state_dict().items() if "outcome_transform" not in name}
        self._model.load_state_dict(own, strict=False)
        self._model.eval()


def fit_scales(model: Any, **optimizer: Any) -> None:
    """Fit a process's lengths, scale and noise.

    An attempt that fails is made again from scales drawn at random: the same ones each time, so that a search that
    was killed goes on as it would have.

    Raises:
        ModelFittingError: no attempt succeeded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model), optimizer_kwargs=optimizer)
