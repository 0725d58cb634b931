"""Gaussian processes of what runs end with, and how much better than the best another run may become.

A run's outcomes, such as an accuracy and a latency, are smooth in its setting; their reward, with a limit in it, is
not. So outcomes are modelled, each by a process of its own, and the reward is taken of what is drawn from them.
Source: Astudillo & Frazier 2019 (composite functions); fidelities: Wu et al. 2019.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from botorch.exceptions.warnings import InputDataWarning
from botorch.models.gp_regression import SingleTaskGP
from botorch.models.gp_regression_fidelity import SingleTaskMultiFidelityGP
from torch import Tensor

from netdyno.nas.search.bayes import Floats, Reward
from netdyno.nas.search.bayes.surrogate import fit_scales

DRAWS = 512


class Outcomes:
    """What runs at ``X (n, 2)`` ended with, ``Y (n, m)``.

    Columns of ``X`` are the setting, from 0 to 1, and the share of all epochs; where all shares are alike they do not
    matter.
    """

    def __init__(self, X: Floats, Y: Floats, seed: int) -> None:
        self._seed = seed
        self._shared = bool((X[:, 1] == X[0, 1]).all())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputDataWarning)
            self._models = [self._fit(self._inputs(X), torch.from_numpy(y[:, None])) for y in Y.T]

    def expected_improvement(self, X: Floats, best: float, reward: Reward) -> Floats:
        """By how much the reward of a run at each of ``X (k, 2)`` is expected to be above ``best``, ``(k,)``."""
        found: Floats = np.maximum(reward(self._draw(X)) - best, 0).mean(axis=0)
        return found

    def expected_reward(self, X: Floats, reward: Reward) -> Floats:
        """The mean reward of runs at ``X (k, 2)``, ``(k,)``."""
        found: Floats = reward(self._draw(X)).mean(axis=0)
        return found

    def told(self, near: Floats, of: Floats) -> Floats:
        """How much of what is unknown at each of ``of (k, 2)`` a run at the same row of ``near`` tells, 0 to 1."""
        shares = []
        for model in self._models:
            with torch.no_grad():
                both = torch.stack([self._inputs(near), self._inputs(of)], dim=1)
                covariance = model.posterior(both).mvn.covariance_matrix
                noise = model.likelihood.noise.item()
            seen = covariance[:, 0, 0] + noise * _scale(model)
            shares.append((covariance[:, 0, 1] ** 2 / (seen * covariance[:, 1, 1]).clamp_min(1e-300)).numpy())
        found: Floats = np.mean(shares, axis=0)
        return found

    def _inputs(self, X: Floats) -> Tensor:
        return torch.from_numpy(X[:, :1] if self._shared else X)

    def _fit(self, X: Tensor, y: Tensor) -> Any:
        model = SingleTaskGP(X, y) if self._shared else SingleTaskMultiFidelityGP(X, y, data_fidelities=[1])
        fit_scales(model)
        return model

    def _draw(self, X: Floats) -> Floats:
        """Outcomes that may be, ``(draws, k, m)``."""
        generator = torch.Generator().manual_seed(self._seed)
        drawn = []
        for model in self._models:
            with torch.no_grad():
                posterior = model.posterior(self._inputs(X)[:, None, :])
                mean, spread = posterior.mean[:, 0, 0], posterior.variance[:, 0, 0].sqrt()
            noise = torch.randn(DRAWS, len(X), generator=generator, dtype=mean.dtype)
            drawn.append((mean + spread * noise).numpy())
        return np.stack(drawn, axis=-1)


def _scale(model: Any) -> float:
    """The variance of what the model standardised."""
    return float(model.outcome_transform.stdvs.item() ** 2)
