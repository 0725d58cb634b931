"""Elastic operators: each holds the largest weights and runs with the first channels or the inner kernel.

Attribute names follow the published Once-for-All checkpoints, so that those load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def active_kernel(weight: Tensor, kernel: int, matrices: Mapping[int, Tensor]) -> Tensor:
    """The depthwise weights for ``kernel``, from the largest: centre crop, then a learned linear map, step by step.

    ``weight``: ``(channels, 1, k, k)``; ``matrices`` maps each smaller size to its ``(size², size²)`` matrix. A 3×3
    goes through the 5×5. Source: Cai et al. 2020, section 3.3 (elastic kernel size).
    """
    size = weight.shape[-1]
    while size > kernel:
        size -= 2
        inner = weight[:, :, 1:-1, 1:-1].reshape(weight.shape[0], -1)
        weight = F.linear(inner, matrices[size]).view(-1, 1, size, size)
    return weight


class ElasticConv(nn.Module):
    """A 1×1 convolution without bias that uses the first input and output channels."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 1, bias=False)

    def weight(self, cin: int, cout: int) -> Tensor:
        """The active part, ``(cout, cin, 1, 1)``."""
        return self.conv.weight[:cout, :cin]

    def forward(self, x: Tensor, cout: int) -> Tensor:
        """``x (n, cin, h, w)`` to ``(n, cout, h, w)``."""
        return F.conv2d(x, self.weight(x.shape[1], cout))


class ElasticDepthwise(nn.Module):
    """A depthwise convolution whose kernel shrinks through learned transforms shared by all channels."""

    def __init__(self, channels: int, kernels: tuple[int, ...], stride: int) -> None:
        super().__init__()
        largest = max(kernels)
        self.stride = stride
        self.sizes = tuple(range(largest - 2, min(kernels) - 1, -2))
        self.conv = nn.Conv2d(channels, channels, largest, stride, groups=channels, bias=False)
        for size in self.sizes:
            self.register_parameter(f"{size + 2}to{size}_matrix", nn.Parameter(torch.eye(size**2)))

    def weight(self, channels: int, kernel: int) -> Tensor:
        """The active weights, ``(channels, 1, kernel, kernel)``."""
        matrices = {size: self.get_parameter(f"{size + 2}to{size}_matrix") for size in self.sizes}
        return active_kernel(self.conv.weight[:channels], kernel, matrices)

    def forward(self, x: Tensor, kernel: int) -> Tensor:
        """``x (n, c, h, w)`` to ``(n, c, h / stride, w / stride)``."""
        weight = self.weight(x.shape[1], kernel)
        return F.conv2d(x, weight, stride=self.stride, padding=kernel // 2, groups=x.shape[1])


class ElasticBatchNorm(nn.Module):
    """Batch norm on the first channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x (n, c, h, w)``; in training the running statistics of its channels are updated."""
        bn, c = self.bn, x.shape[1]
        assert bn.running_mean is not None and bn.running_var is not None
        return F.batch_norm(
            x,
            bn.running_mean[:c],
            bn.running_var[:c],
            bn.weight[:c],
            bn.bias[:c],
            self.training,
            bn.momentum or 0.0,
            bn.eps,
        )


class ElasticExcitation(nn.Module):
    """Squeeze-and-excitation on the first channels, with a reduced width that the caller gives."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.fc = nn.ModuleDict(
            {"reduce": nn.Conv2d(channels, reduced, 1), "expand": nn.Conv2d(reduced, channels, 1)}
        )

    def weights(self, channels: int, reduced: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Active weight and bias of the reduction and of the excitation."""
        reduce, expand = self.fc["reduce"], self.fc["expand"]
        assert isinstance(reduce, nn.Conv2d) and isinstance(expand, nn.Conv2d)
        assert reduce.bias is not None and expand.bias is not None
        return (
            reduce.weight[:reduced, :channels],
            reduce.bias[:reduced],
            expand.weight[:channels, :reduced],
            expand.bias[:channels],
        )

    def forward(self, x: Tensor, reduced: int) -> Tensor:
        """``x (n, c, h, w)``, each channel scaled."""
        w1, b1, w2, b2 = self.weights(x.shape[1], reduced)
        gate = x.mean((2, 3), keepdim=True)
        gate = F.conv2d(F.relu(F.conv2d(gate, w1, b1)), w2, b2)
        return x * F.hardsigmoid(gate)
