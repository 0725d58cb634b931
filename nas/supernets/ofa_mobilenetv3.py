"""The Once-for-All MobileNetV3 supernet; its state dict has the published checkpoints' keys and shapes."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from netdyno.nas.space import Population
from netdyno.nas.spaces.ofa_mobilenetv3 import (
    ACTIVATIONS,
    EXCITED,
    EXPANSIONS,
    KERNELS,
    STRIDES,
    UNIT_BLOCKS,
    UNITS,
    OfaMobileNetV3,
)
from netdyno.nas.supernets.bottleneck import ElasticBottleneck, copy_norm
from netdyno.nas.supernets.dynamic import ElasticDepthwise
from netdyno.nas.supernets.modules import ConvModule, LinearModule, MBConvModule, activate
from netdyno.nas.supernets.subnet import Subnet
from netdyno.nas.supernets.supernet import Supernet, initialise
from netdyno.profiler.layers import MBConv, make_divisible


class StaticConv(nn.Module):
    """A convolution with the same size in every subnet."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, act: str, groups: int = 1, norm: bool = True):
        super().__init__()
        self.act = act
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
        if norm:
            self.bn = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        y = self.conv(x)
        return activate(self.bn(y) if hasattr(self, "bn") else y, self.act)


class ElasticMBConv(ElasticBottleneck):
    """An inverted bottleneck with elastic kernel and expansion."""

    def __init__(self, cin: int, cout: int, unit: int, stride: int) -> None:
        mid = make_divisible(round(cin * max(EXPANSIONS)))
        se = make_divisible(mid // 4) if EXCITED[unit] else 0
        skip = int(stride == 1 and cin == cout)
        widest = MBConv(1, 1, cin, cout, mid, max(KERNELS), stride, ACTIVATIONS[unit], se, skip)
        super().__init__(widest, ElasticDepthwise(mid, KERNELS, stride))
        self.excited = EXCITED[unit]

    def choose(self, x: Tensor, kernel: int, expansion: int) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        mid = make_divisible(round(x.shape[1] * expansion))
        y: Tensor = self(x, mid, kernel, make_divisible(mid // 4) if self.excited else 0)
        return y


class Block(nn.Module):
    """A block under the name ``conv`` that the published checkpoints give it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv


class OfaMobileNetV3Supernet(Supernet):
    """Every subnet of an :class:`OfaMobileNetV3` space in one set of weights."""

    space: OfaMobileNetV3

    def __init__(self, space: OfaMobileNetV3) -> None:
        super().__init__()
        self.space = space
        width = space.channels
        self.first_conv = StaticConv(3, width[0], 3, 2, "h_swish")
        depthwise = StaticConv(width[0], width[0], 3, 1, "relu", groups=width[0])
        static = nn.ModuleDict(
            {"depth_conv": depthwise, "point_linear": StaticConv(width[0], width[1], 1, 1, "none")}
        )
        blocks = [Block(static)]
        for unit in range(UNITS):
            for block in range(UNIT_BLOCKS):
                cin = width[unit + 2] if block else width[unit + 1]
                stride = 1 if block else STRIDES[unit]
                blocks.append(Block(ElasticMBConv(cin, width[unit + 2], unit, stride)))
        self.blocks = nn.ModuleList(blocks)
        self.final_expand_layer = StaticConv(width[6], width[7], 1, 1, "h_swish")
        self.feature_mix_layer = StaticConv(width[7], width[8], 1, 1, "h_swish", norm=False)
        self.classifier = nn.ModuleDict({"linear": nn.Linear(width[8], space.classes)})
        self.apply(initialise)
        for wrapped in self.blocks[1:]:
            cast(ElasticMBConv, cast(Block, wrapped).conv).start_empty()

    def forward(self, x: Tensor, genes: Population) -> Tensor:
        """Logits ``(n, classes)`` of images ``(n, 3, r, r)`` by one architecture ``(46,)``; ``r`` is the caller's."""
        choice = self.space.decode(genes)[0]
        y = self.first_conv(x)
        static = cast(nn.ModuleDict, cast(Block, self.blocks[0]).conv)
        z = static["point_linear"](static["depth_conv"](y))
        y = z + y if z.shape[1] == y.shape[1] else z
        for unit, depth in enumerate(choice["d"]):
            for slot in range(unit * UNIT_BLOCKS, unit * UNIT_BLOCKS + depth):
                block = cast(Block, self.blocks[slot + 1])
                y = cast(ElasticMBConv, block.conv).choose(y, choice["ks"][slot], choice["e"][slot])
        y = self.final_expand_layer(y).mean((2, 3), keepdim=True)
        logits: Tensor = self.classifier["linear"](self.feature_mix_layer(y).flatten(1))
        return logits

    def copy_to(self, subnet: Subnet) -> None:
        """Copy the weights that a plain network of this space uses into it."""
        layers = self.space.layers(subnet.genes)
        present = self.space.active(subnet.genes)[0, : UNITS * UNIT_BLOCKS]
        chosen = [block for block, is_present in zip(self.blocks[1:], present, strict=True) if is_present]
        static = cast(nn.ModuleDict, cast(Block, self.blocks[0]).conv)
        _copy_static(self.first_conv, cast(ConvModule, subnet.blocks[0]))
        _copy_first_block(static, cast(MBConvModule, subnet.blocks[1]))
        for source, module, layer in zip(chosen, subnet.blocks[2:-4], layers[2:-4], strict=True):
            elastic = cast(ElasticMBConv, cast(Block, source).conv)
            elastic.copy_to(cast(MBConvModule, module), cast(MBConv, layer))
        _copy_static(self.final_expand_layer, cast(ConvModule, subnet.blocks[-4]))
        _copy_static(self.feature_mix_layer, cast(ConvModule, subnet.blocks[-2]))
        cast(LinearModule, subnet.blocks[-1]).linear.load_state_dict(self.classifier["linear"].state_dict())


def _copy_static(source: StaticConv, target: ConvModule) -> None:
    target.conv.weight.copy_(source.conv.weight)
    if target.bn is not None:
        copy_norm(source.bn, target.bn)


def _copy_first_block(source: nn.ModuleDict, target: MBConvModule) -> None:
    depthwise, point = cast(StaticConv, source["depth_conv"]), cast(StaticConv, source["point_linear"])
    target.depthwise.weight.copy_(depthwise.conv.weight)
    target.project.weight.copy_(point.conv.weight)
    copy_norm(depthwise.bn, target.depthwise_bn)
    copy_norm(point.bn, target.project_bn)
