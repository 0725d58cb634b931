"""What all trainings have in common: AdamW that decays matrices only, a rate that rises and falls.

Source of the rate: Smith & Topin 2019 (super-convergence); of the decay: Goyal et al. 2017, section 5.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

RISE = 0.1
CLIP = 5.0
"""Largest norm of a step's gradient."""
SMOOTHING = 0.1
"""Of labels, in every cross-entropy (Szegedy et al. 2016)."""


def optimiser_of(parameters: Iterable[nn.Parameter], weight_decay: float) -> torch.optim.AdamW:
    """AdamW on ``parameters``; biases and norms are not decayed. Its rate is the caller's to set."""
    each = list(parameters)
    decayed, others = [p for p in each if p.dim() > 1], [p for p in each if p.dim() <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    )


def one_cycle(step: int, steps: int, largest: float) -> float:
    """The learning rate of a step: up in a tenth of the steps, then down along a cosine, to nearly nothing."""
    rise = max(round(RISE * steps), 1)
    if step < rise:
        return largest * (step + 1) / rise
    return largest * (1 + math.cos(math.pi * (step + 1 - rise) / (steps - rise + 1))) / 2
