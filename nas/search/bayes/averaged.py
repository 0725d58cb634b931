"""A process that few evaluations tell little of: the average over what its scales may be.

Where a dozen trainings stand for a dozen hyperparameters, many scales explain them about as well as the likeliest do,
and a process that is sure of those is sure of too much. Here scales are drawn from their prior, and count by how
likely they make what was seen; mean and variance of each are the likeliest ones, which have a closed form.
Source: Snoek, Larochelle & Adams 2012, section 3.2 (integrated acquisition); Rasmussen & Williams 2006, section 2.7.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from botorch.models.gp_regression import SingleTaskGP
from gpytorch.kernels import RBFKernel
from gpytorch.means import ZeroMean
from torch import Tensor

from netdyno.nas.search.bayes import Floats
from netdyno.nas.search.bayes.surrogate import Surrogate

LENGTH = (2.5, 0.8)
QUICK = (0.2, 0.5)
"""Median of a column's length scale, in sides of the cube, and spread of its logarithm: of most, of quick ones.

About those of the trainings in ``benchmarks/training_runs.csv``.
"""
DRAWS = 512
KEPT = 32
"""Scales that are drawn, and the likeliest of them, which are averaged."""
AT_A_TIME = 64
"""Points whose covariances, all with all in each process, stay in a core's cache."""
ELEMENTS = 2**22
"""Of the covariances that are held at a time."""
NOISE = 1e-4
"""Of what was seen, as a share of the process's variance."""
LEAST = 1e-12
"""A variance: what was seen may be all alike."""


class Averaged(Surrogate):
    """A :class:`Surrogate` over many scales; the last ``quick`` columns are expected to change much more quickly."""

    _lengths: Tensor
    _weights: Floats

    def __init__(
        self, points: Floats, y: Floats, *, log: bool = False, like: Self | None = None, quick: int = 0
    ) -> None:
        self._quick: int = quick if like is None else like._quick
        super().__init__(points, y, log=log, like=like)

    def __call__(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the truth at ``points (k, d)``, each ``(k,)``; of the logarithm where so."""
        chunks = [self._posterior(points[i : i + AT_A_TIME]) for i in range(0, max(len(points), 1), AT_A_TIME)]
        standard, share = (torch.cat(each, dim=1)[..., 0].numpy() for each in zip(*chunks, strict=True))
        means, variances = self._mean + self._unit * standard, self._unit**2 * share
        mean: Floats = self._weights @ means
        spread: Floats = np.sqrt(self._weights @ (variances + (means - mean) ** 2))
        return mean, spread

    def _learn(self, targets: Floats, like: Self | None) -> None:
        x, y = torch.from_numpy(self.points), torch.from_numpy(targets)
        if like is not None:
            self._lengths, self._weights = like._lengths, like._weights
        else:
            drawn = _draw(self.points.shape[1], self._quick, len(y))
            some = max(ELEMENTS // len(y) ** 2, 1)
            likelihood = torch.cat([_explain(x, y, drawn[i : i + some])[2] for i in range(0, DRAWS, some)])
            best = likelihood.argsort(descending=True, stable=True)[:KEPT]
            self._lengths, self._weights = drawn[best], likelihood[best].softmax(0).numpy()
        mean, variance, _ = (each[:, None] for each in _explain(x, y, self._lengths))
        self._mean, self._unit = mean.numpy(), variance.sqrt().numpy()
        self._model = _process(x, (y - mean) / variance.sqrt(), self._lengths)


def _draw(columns: int, quick: int, seed: int) -> Tensor:
    """Length scales from their prior, ``(DRAWS, columns)``; others each time, so that none is relied upon."""
    median, spread = np.array([LENGTH] * (columns - quick) + [QUICK] * quick).T
    drawn = np.random.default_rng(seed).normal(np.log(median), spread, (DRAWS, columns))
    return torch.from_numpy(np.exp(drawn))


def _kernel(lengths: Tensor) -> RBFKernel:
    kernel = RBFKernel(ard_num_dims=lengths.shape[1], batch_shape=lengths.shape[:1]).double()
    kernel.lengthscale = lengths[:, None]
    return kernel


def _explain(x: Tensor, y: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest mean and variance with each of ``lengths (s, d)``, and log-likelihoods, each ``(s,)``."""
    n = len(y)
    with torch.no_grad():
        lower = torch.linalg.cholesky(_kernel(lengths)(x).to_dense() + NOISE * torch.eye(n, dtype=y.dtype))
        inverse = torch.cholesky_inverse(lower)
        mean = (inverse @ y).sum(1) / inverse.sum((1, 2))
        off = y - mean[:, None]
        variance = (torch.einsum("si,sij,sj->s", off, inverse, off) / n).clamp_min(LEAST)
        likelihood = -0.5 * n * variance.log() - lower.diagonal(dim1=1, dim2=2).log().sum(1)
    return mean, variance, likelihood


def _process(x: Tensor, y: Tensor, lengths: Tensor) -> SingleTaskGP:
    """A batch of processes of no mean and a variance of one, each through its row of ``y (s, n)``."""
    noise = torch.full_like(y, NOISE)
    model = SingleTaskGP(
        x.expand(len(y), *x.shape),
        y[..., None],
        noise[..., None],
        mean_module=ZeroMean(batch_shape=lengths.shape[:1]),
        covar_module=_kernel(lengths),
        outcome_transform=None,
    )
    model.eval()
    return model
