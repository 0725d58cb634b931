"""An inverted bottleneck that runs with the first of its channels; attribute names are Once-for-All's."""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor, nn

from netdyno.nas.supernets.dynamic import ElasticBatchNorm, ElasticConv, ElasticExcitation
from netdyno.nas.supernets.modules import MBConvModule, activate
from netdyno.profiler.layers import MBConv


class Depthwise(Protocol):
    """A depthwise convolution with several kernels in one set of weights."""

    def weight(self, channels: int, kernel: int) -> Tensor:
        """The active weights, ``(channels, 1, kernel, kernel)``."""

    def __call__(self, x: Tensor, kernel: int) -> Tensor:
        """``x (n, c, h, w)`` to ``(n, c, h / stride, w / stride)``."""


class ElasticBottleneck(nn.Module):
    """The bottleneck that ``widest`` describes, and every one with fewer inner channels or a smaller kernel."""

    def __init__(self, widest: MBConv, depthwise: nn.Module) -> None:
        super().__init__()
        mid = widest.mid
        self.cout, self.act, self.skip = widest.cout, widest.act, bool(widest.skip)
        self.inverted_bottleneck = nn.ModuleDict({"conv": ElasticConv(widest.cin, mid), "bn": ElasticBatchNorm(mid)})
        self.depth_conv = nn.ModuleDict({"conv": depthwise, "bn": ElasticBatchNorm(mid)})
        if widest.se:
            self.depth_conv["se"] = ElasticExcitation(mid, widest.se)
        self.point_linear = nn.ModuleDict(
            {"conv": ElasticConv(mid, widest.cout), "bn": ElasticBatchNorm(widest.cout)}
        )

    @property
    def expand(self) -> ElasticConv:
        """The 1×1 convolution to the inner channels."""
        return cast(ElasticConv, self.inverted_bottleneck["conv"])

    @property
    def depthwise(self) -> Depthwise:
        """The depthwise convolution."""
        return cast(Depthwise, self.depth_conv["conv"])

    @property
    def excitation(self) -> ElasticExcitation:
        """Squeeze-and-excitation, where the widest has it."""
        return cast(ElasticExcitation, self.depth_conv["se"])

    @property
    def project(self) -> ElasticConv:
        """The 1×1 convolution to the output's channels."""
        return cast(ElasticConv, self.point_linear["conv"])

    @property
    def norms(self) -> tuple[ElasticBatchNorm, ElasticBatchNorm, ElasticBatchNorm]:
        """Batch norm of expansion, depthwise convolution and projection."""
        parts = (self.inverted_bottleneck, self.depth_conv, self.point_linear)
        first, second, third = (cast(ElasticBatchNorm, part["bn"]) for part in parts)
        return first, second, third

    def forward(self, x: Tensor, mid: int, kernel: int, reduced: int) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``; ``reduced`` 0 squeezes and excites nothing."""
        wide, deep, out = self.norms
        y = activate(wide(self.expand(x, mid)), self.act)
        y = activate(deep(self.depthwise(y, kernel)), self.act)
        if reduced:
            y = self.excitation(y, reduced)
        y = out(self.project(y, self.cout))
        z: Tensor = y + x if self.skip else y
        return z

    def start_empty(self) -> None:
        """Begin as the identity where there is a skip, so that deep and shallow subnets begin alike.

        Source: Goyal et al. 2017, section 5.1.
        """
        if self.skip:
            nn.init.zeros_(self.norms[-1].bn.weight)

    def copy_to(self, module: MBConvModule, layer: MBConv) -> None:
        """Copy the active weights into a plain block."""
        assert module.expand is not None and module.expand_bn is not None
        module.expand.weight.copy_(self.expand.weight(layer.cin, layer.mid))
        module.depthwise.weight.copy_(self.depthwise.weight(layer.mid, layer.kernel))
        module.project.weight.copy_(self.project.weight(layer.mid, layer.cout))
        targets = (module.expand_bn, module.depthwise_bn, module.project_bn)
        for source, target in zip(self.norms, targets, strict=True):
            copy_norm(source.bn, target)
        if module.reduce is not None and module.excite is not None:
            assert module.reduce.bias is not None and module.excite.bias is not None
            values = self.excitation.weights(layer.mid, layer.se)
            own = (module.reduce.weight, module.reduce.bias, module.excite.weight, module.excite.bias)
            for to, value in zip(own, values, strict=True):
                to.copy_(value)


def copy_norm(source: nn.BatchNorm2d, target: nn.BatchNorm2d) -> None:
    """Copy the first channels of a batch norm, as many as the target has."""
    channels = target.num_features
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(target, name).copy_(getattr(source, name)[:channels])
