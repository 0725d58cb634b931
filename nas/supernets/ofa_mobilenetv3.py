"""The Once-for-All MobileNetV3 supernet; its state dict has the published checkpoints' keys and shapes."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from netdyno.nas.data import load_data
from netdyno.nas.data.dataset import Dataset
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
from netdyno.nas.supernets.dynamic import ElasticBatchNorm, ElasticConv, ElasticDepthwise, ElasticExcitation
from netdyno.nas.supernets.subnet import (
    CALIBRATION_IMAGES,
    ConvModule,
    LinearModule,
    MBConvModule,
    Subnet,
    activate,
    recalibrate,
    resize,
)
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


class ElasticMBConv(nn.Module):
    """An inverted bottleneck with elastic kernel and expansion."""

    def __init__(self, cin: int, cout: int, unit: int, stride: int) -> None:
        super().__init__()
        mid = make_divisible(round(cin * max(EXPANSIONS)))
        self.cout = cout
        self.act = ACTIVATIONS[unit]
        self.skip = stride == 1 and cin == cout
        self.inverted_bottleneck = nn.ModuleDict({"conv": ElasticConv(cin, mid), "bn": ElasticBatchNorm(mid)})
        self.depth_conv = nn.ModuleDict({"conv": ElasticDepthwise(mid, KERNELS, stride), "bn": ElasticBatchNorm(mid)})
        if EXCITED[unit]:
            self.depth_conv["se"] = ElasticExcitation(mid, make_divisible(mid // 4))
        self.point_linear = nn.ModuleDict({"conv": ElasticConv(mid, cout), "bn": ElasticBatchNorm(cout)})

    def forward(self, x: Tensor, kernel: int, expansion: int) -> Tensor:
        """``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        mid = make_divisible(round(x.shape[1] * expansion))
        y = self.inverted_bottleneck["bn"](self.inverted_bottleneck["conv"](x, mid))
        y = self.depth_conv["bn"](self.depth_conv["conv"](activate(y, self.act), kernel))
        y = activate(y, self.act)
        if "se" in self.depth_conv:
            y = self.depth_conv["se"](y, make_divisible(mid // 4))
        y = self.point_linear["bn"](self.point_linear["conv"](y, self.cout))
        z: Tensor = y + x if self.skip else y
        return z

    def copy_to(self, module: MBConvModule, layer: MBConv) -> None:
        """Copy the active weights into a plain block."""
        assert module.expand is not None and module.expand_bn is not None
        expand = cast(ElasticConv, self.inverted_bottleneck["conv"])
        depthwise = cast(ElasticDepthwise, self.depth_conv["conv"])
        project = cast(ElasticConv, self.point_linear["conv"])
        module.expand.weight.copy_(expand.weight(layer.cin, layer.mid))
        module.depthwise.weight.copy_(depthwise.weight(layer.mid, layer.kernel))
        module.project.weight.copy_(project.weight(layer.mid, layer.cout))
        norms = (module.expand_bn, module.depthwise_bn, module.project_bn)
        for norm, part in zip(norms, (self.inverted_bottleneck, self.depth_conv, self.point_linear), strict=True):
            _copy_norm(cast(ElasticBatchNorm, part["bn"]).bn, norm)
        if module.reduce is not None and module.excite is not None:
            assert module.reduce.bias is not None and module.excite.bias is not None
            source = cast(ElasticExcitation, self.depth_conv["se"]).weights(layer.mid, layer.se)
            target = (module.reduce.weight, module.reduce.bias, module.excite.weight, module.excite.bias)
            for to, value in zip(target, source, strict=True):
                to.copy_(value)


class Block(nn.Module):
    """A block under the name ``conv`` that the published checkpoints give it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv


class OfaMobileNetV3Supernet(nn.Module):
    """Every subnet of an :class:`OfaMobileNetV3` space in one set of weights."""

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
        self.apply(_initialise)
        self._start_skips_empty()

    def _start_skips_empty(self) -> None:
        """Blocks with a skip begin as the identity, so that subnets of all depths begin alike (Goyal et al. 2017)."""
        for block in self.blocks[1:]:
            elastic = cast(ElasticMBConv, cast(Block, block).conv)
            if elastic.skip:
                nn.init.zeros_(cast(ElasticBatchNorm, elastic.point_linear["bn"]).bn.weight)

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
                y = block.conv(y, choice["ks"][slot], choice["e"][slot])
        y = self.final_expand_layer(y).mean((2, 3), keepdim=True)
        logits: Tensor = self.classifier["linear"](self.feature_mix_layer(y).flatten(1))
        return logits

    def extract(self, genes: Population, data: Dataset | str | None = None) -> Subnet:
        """The architecture ``(46,)`` as a plain network with copied weights.

        With ``data``, a data set or the name of one, its batch norm is recalibrated on the first training images;
        without, it has the supernet's statistics, which are no subnet's own.
        """
        subnet = self._copy(genes)
        if data is not None:
            known = load_data(data, "train") if isinstance(data, str) else data
            images = torch.from_numpy(known.images[:CALIBRATION_IMAGES])
            recalibrate(subnet, [resize(images, subnet.resolution)])
        return subnet

    @torch.no_grad()
    def _copy(self, genes: Population) -> Subnet:
        subnet = Subnet(self.space, self.space.check(genes)[0])
        layers = self.space.layers(genes)
        present = self.space.active(genes)[0, : UNITS * UNIT_BLOCKS]
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
        return subnet.eval()


def _copy_static(source: StaticConv, target: ConvModule) -> None:
    target.conv.weight.copy_(source.conv.weight)
    if target.bn is not None:
        _copy_norm(source.bn, target.bn)


def _copy_first_block(source: nn.ModuleDict, target: MBConvModule) -> None:
    depthwise, point = cast(StaticConv, source["depth_conv"]), cast(StaticConv, source["point_linear"])
    target.depthwise.weight.copy_(depthwise.conv.weight)
    target.project.weight.copy_(point.conv.weight)
    _copy_norm(depthwise.bn, target.depthwise_bn)
    _copy_norm(point.bn, target.project_bn)


def _copy_norm(source: nn.BatchNorm2d, target: nn.BatchNorm2d) -> None:
    channels = target.num_features
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(target, name).copy_(getattr(source, name)[:channels])


def _initialise(module: nn.Module) -> None:
    """He initialisation by fan-out; classifier weights small (Goyal et al. 2017 use 0.01)."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)
