"""How much a network that was not trained yet promises, in logarithms that hold however little that is.

Improvement is on the best, smallest value so far. Known constraints let through or not, at once, since models tell
them before anything is trained; unknown ones count by how likely they are kept to.
Source: Stamoulis 2020, Eq. 3.4; Gelbart et al. 2014 (unknown constraints); Ament et al. 2023 (logarithms).
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx, log_ndtr

from netdyno.nas.search.bayes import Floats

LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)
NEAR = -1.0
FAR = -1e6
"""Standardised improvements below which the plain, and below which the scaled form loses its digits."""
SHUT_OUT = -1e15
"""Below the logarithm of any improvement."""


def log_expected_improvement(mean: Floats, spread: Floats, best: float) -> Floats:
    """Log E[max(``best`` − y, 0)] of normal y, ``(k,)``; of what is certain, its own improvement."""
    certain = spread <= 0
    width = np.where(certain, 1.0, spread)
    with np.errstate(divide="ignore"):
        sure = np.maximum(np.log(np.maximum(best - mean, 0.0)), SHUT_OUT)
        found: Floats = np.where(certain, sure, np.log(width) + _log_mean_excess((best - mean) / width))
    return found


def _log_mean_excess(z: Floats) -> Floats:
    """log(φ(z) + z Φ(z)), to the last digits far below zero, where the two nearly cancel."""
    density = -0.5 * z**2 - LOG_ROOT_2PI
    near, middle = np.maximum(z, NEAR), np.clip(z, FAR, NEAR)
    plain = np.log(np.exp(-0.5 * near**2 - LOG_ROOT_2PI) + near * np.exp(log_ndtr(near)))
    scaled = np.log1p(np.sqrt(np.pi / 2) * middle * erfcx(-middle / np.sqrt(2)))
    tail = -2 * np.log(np.maximum(-z, 1.0))
    found: Floats = np.where(z > NEAR, plain, density + np.where(z > FAR / 100, scaled, tail))
    return found


def log_probability_below(mean: Floats, spread: Floats, limit: float) -> Floats:
    """Log P(y ≤ ``limit``) of normal y, ``(k,)``."""
    certain = spread <= 0
    kept: Floats = np.where(
        certain, np.where(mean <= limit, 0.0, SHUT_OUT), log_ndtr((limit - mean) / np.where(certain, 1.0, spread))
    )
    return kept


def admit(log_improvement: Floats, violation: Floats) -> Floats:
    """The logarithm of improvement times the indicator of known constraints; further out, the less the better.

    Whatever keeps to the constraints is ahead of all that does not, and where nothing does, what violates least is
    ahead.
    """
    admitted: Floats = np.where(violation > 0, SHUT_OUT * (1 + violation), log_improvement)
    return admitted
