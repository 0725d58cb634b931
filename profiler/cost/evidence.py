"""Linear regression on groups of features whose weight the data decide: a Gaussian process of linear kernels.

The target is a constant plus, for each group, a linear function whose coefficients are drawn around zero. One scale
a group and the noise are all that is fitted, by the marginal likelihood (Rasmussen & Williams 2006, Eq. 5.8–5.9), so
that ten readings suffice for hundreds of features. Outliers are weighed down by their leave-one-out residuals
(Eq. 5.12), as integer milliseconds and hiccups of a phone ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

NOISE_PRIOR = (-2.0, 4.0)
SCALE_PRIOR_SPREAD = 1.5
"""Priors of the logarithms, relative to the target's variance: weak, but a group of few readings needs one."""
SCALE_BOUNDS = (-14.0, 4.0)
NOISE_BOUNDS = (-18.0, 2.0)
CONSTANT = 10.0
"""Variance of the constant beyond the median: wide."""
ROUNDS = 4
OUTLIER = 1.3
"""Standardised residual from which a reading counts for less."""
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Group:
    """Features ``(n, k)`` that share a scale; ``prior`` is the expected logarithm of it."""

    features: Floats
    prior: float = 0.0


@dataclass(frozen=True)
class Fit:
    """A constant, coefficients of each group's features, and the noise relative to the targets' variance."""

    constant: float
    coefficients: tuple[Floats, ...]
    noise: float
    _centres: tuple[Floats, ...]
    _widths: tuple[float, ...]
    _train: tuple[Floats, ...]
    _scales: Floats
    _inverse: Floats
    _spread: float

    def __call__(self, groups: Sequence[Floats]) -> Floats:
        """The target of new rows: features of each group, ``(n, k)``, to ``(n,)``."""
        terms = (features @ own for features, own in zip(groups, self.coefficients, strict=True))
        return self.constant + np.asarray(sum(terms), np.float64)

    def variance(self, groups: Sequence[Floats]) -> Floats:
        """Variance of new rows' target, noise included, ``(n,)``."""
        cross = np.full((len(groups[0]), len(self._inverse)), CONSTANT)
        own = np.full(len(groups[0]), CONSTANT)
        each = zip(groups, self._centres, self._widths, self._train, self._scales, strict=True)
        for features, centre, width, train, scale in each:
            rows = (features - centre) / width
            cross += scale * (rows @ train.T)
            own += scale * (rows**2).sum(axis=1)
        left = own - np.einsum("ij,jk,ik->i", cross, self._inverse, cross)
        variance: Floats = self._spread**2 * (np.maximum(left, 0.0) + self.noise)
        return variance


def fit_groups(groups: Sequence[Group], y: Floats) -> Fit:
    """Fit the groups' scales and coefficients to targets ``y (n,)``."""
    middle, spread = float(np.median(y)), float(y.std()) or 1.0
    target = (y - middle) / spread
    centres = tuple(group.features.mean(axis=0) for group in groups)
    widths, train = [], []
    for group, centre in zip(groups, centres, strict=True):
        rows = group.features - centre
        widths.append(float(np.sqrt((rows**2).sum(axis=1).mean())) or 1.0)
        train.append(rows / widths[-1])
    kernels = np.array([rows @ rows.T for rows in train])
    evidence = _Evidence(kernels, target, np.array([group.prior for group in groups]))
    logs = np.r_[np.full(len(groups), -np.log(len(groups))), -3.0]
    weights = np.ones(len(y))
    for _ in range(ROUNDS):
        logs = evidence.maximise(logs, weights)
        inverse = evidence.inverse(logs, weights)
        left_out, variance = (inverse @ target) / np.diag(inverse), 1 / np.diag(inverse)
        # Against the noise that it would have as an honest reading, or no outlier would ever stand out.
        honest = np.maximum(variance + np.exp(logs[-1]) * (1 - 1 / weights), np.exp(logs[-1]))
        residual = np.abs(left_out) / np.sqrt(honest)
        trusted, weights = weights, np.clip((OUTLIER / np.maximum(residual, OUTLIER)) ** 2, LEAST_WEIGHT, 1.0)
    scales, noise = np.exp(logs[:-1]), float(np.exp(logs[-1]))
    roots = np.sqrt(scales) * spread / np.array(widths)
    parts = [rows * np.sqrt(scale) for rows, scale in zip(train, scales, strict=True)]
    base, *own = _solve(parts, target, trusted, noise)
    coefficients = tuple(part * root for part, root in zip(own, roots, strict=True))
    shift = sum(float(centre @ part) for centre, part in zip(centres, coefficients, strict=True))
    constant = middle + spread * float(base[0]) - shift
    return Fit(constant, coefficients, noise, centres, tuple(widths), tuple(train), scales, inverse, spread)


def _solve(parts: Sequence[Floats], target: Floats, weights: Floats, noise: float) -> list[Floats]:
    """Most plausible constant and coefficients, each drawn with unit variance; exact where the readings are."""
    columns = [np.full((len(target), 1), np.sqrt(CONSTANT)), *parts]
    root = np.sqrt(weights)
    u, s, vt = np.linalg.svd(np.concatenate(columns, axis=1) * root[:, None], full_matrices=False)
    solution = vt.T @ (s / (s**2 + noise) * (u.T @ (root * target)))
    constant, *own = np.split(solution, np.cumsum([column.shape[1] for column in columns])[:-1])
    return [constant * np.sqrt(CONSTANT), *own]


class _Evidence:
    """The marginal likelihood of scales and noise, with their priors."""

    def __init__(self, kernels: Floats, target: Floats, priors: Floats) -> None:
        self._kernels = kernels
        self._target = target
        self._means = np.r_[priors, NOISE_PRIOR[0]]
        self._spreads = np.r_[np.full(len(priors), SCALE_PRIOR_SPREAD), NOISE_PRIOR[1]]
        self._bounds = [SCALE_BOUNDS] * len(priors) + [NOISE_BOUNDS]

    def maximise(self, start: Floats, weights: Floats) -> Floats:
        """The most plausible logarithms of the scales and, last, of the noise."""
        found = minimize(self._loss, start, (weights,), method="L-BFGS-B", jac=True, bounds=self._bounds)
        return np.asarray(found.x, np.float64)

    def inverse(self, logs: Floats, weights: Floats) -> Floats:
        """The inverse of the covariance of the readings."""
        factor = self._factor(logs, weights)
        return np.asarray(factor.T @ factor, np.float64)

    def _factor(self, logs: Floats, weights: Floats) -> Floats:
        covariance = CONSTANT + np.tensordot(np.exp(logs[:-1]), self._kernels, 1)
        covariance[np.diag_indices_from(covariance)] += np.exp(logs[-1]) / weights
        return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)), np.float64)

    def _loss(self, logs: Floats, weights: Floats) -> tuple[float, Floats]:
        factor = self._factor(logs, weights)
        white = factor @ self._target
        dual = factor.T @ white
        pull = np.outer(dual, dual) - factor.T @ factor
        off = (logs - self._means) / self._spreads
        loss = 0.5 * white @ white - np.log(np.diag(factor)).sum() + 0.5 * off @ off
        by_scale = np.exp(logs[:-1]) * np.einsum("gij,ij->g", self._kernels, pull)
        by_noise = np.exp(logs[-1]) * (np.diag(pull) / weights).sum()
        gradient = -0.5 * np.r_[by_scale, by_noise] + off / self._spreads
        return float(loss), gradient
