"""The optimiser of architectures: Adam whose scale all elements have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

BETAS = (0.5, 0.999)
"""Of the moments: what a gate was pulled to some steps ago says little of now (FBNet and DARTS take 0.5 too)."""
_EPSILON = 1e-12


class SharedAdam(torch.optim.Optimizer):
    """Adam (Kingma & Ba 2015) with one second moment for each tensor, the mean over those elements that have one.

    Adam's own moves every element at one speed, whatever its gradient: all gates close at once. Here a gate that
    saves more time for the loss that it costs closes earlier.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(self._moved(parameter, parameter.grad), alpha=group["lr"])

    def _moved(self, parameter: nn.Parameter, gradient: torch.Tensor) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        mean: torch.Tensor = state["exp_avg"].lerp_(gradient, 1 - BETAS[0])
        square: torch.Tensor = state["exp_avg_sq"].lerp_(gradient.square(), 1 - BETAS[1])
        corrected = [1 - beta ** float(state["step"]) for beta in BETAS]
        common = square.sum() / square.count_nonzero().clamp_min(1) / corrected[1]
        moved: torch.Tensor = mean / corrected[0] / (common.sqrt() + _EPSILON)
        return moved
