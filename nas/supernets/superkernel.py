"""The superkernel of Single-Path NAS: every option of a searched layer in one set of weights.

One depthwise kernel holds the 3×3 in its middle and the first half of its channels for expansion 3; one
squeeze-and-excitation holds the smaller one in its first reduced channels. *Gates* between 0 and 1 say how far what
lies further out takes part. Source: Stamoulis et al. 2019, Eq. 1–6; Stamoulis 2020, Eq. 5.1–5.5, 6.3, 6.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netdyno.nas.spaces.single_path import EXPANSIONS, KERNELS, Option, Place
from netdyno.nas.supernets.bottleneck import ElasticBottleneck

BORDER = (max(KERNELS) - min(KERNELS)) // 2
"""How many pixels the outer shell of a kernel is thick."""


class Gates(NamedTuple):
    """How far each part takes part, scalars from 0 to 1: as in ``5x5``, ``e3``, ``e6``, ``se0.25``, ``se0.5``.

    ``e3`` 0 skips the layer, ``e6`` 0 leaves the second half of the channels out, ``se25`` 0 excites nothing, and
    ``se50`` 0 reduces to the first half of the reduced channels.
    """

    k5: Tensor
    e3: Tensor
    e6: Tensor
    se25: Tensor
    se50: Tensor

    @classmethod
    def force(cls, option: Option | None) -> Gates:
        """The gates of one option; None is the skip."""
        if option is None:
            return cls(*torch.zeros(len(cls._fields)))
        large = (option.kernel == max(KERNELS), True, option.expansion == max(EXPANSIONS))
        return cls(*torch.tensor([*large, option.se > 0, option.se > 0.25], dtype=torch.float32))


class SuperkernelDepthwise(nn.Module):
    """A depthwise 5×5 convolution whose 3×3 is its middle."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        largest = max(KERNELS)
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels, largest, stride, groups=channels, bias=False)
        shell = torch.ones(largest, largest)
        shell[BORDER:-BORDER, BORDER:-BORDER] = 0
        self.register_buffer("shell", shell, persistent=False)

    def weight(self, channels: int, kernel: int) -> Tensor:
        """The weights of a kernel size, ``(channels, 1, kernel, kernel)``."""
        weight = self.conv.weight[:channels]
        return weight if kernel == max(KERNELS) else weight[:, :, BORDER:-BORDER, BORDER:-BORDER]

    def gated(self, k5: Tensor) -> Tensor:
        """The middle, and the shell as far as its gate lets it, ``(channels, 1, 5, 5)``."""
        shell = self.get_buffer("shell")
        return self.conv.weight * (1 - shell + k5 * shell)

    def forward(self, x: Tensor, kernel: int) -> Tensor:
        """``x (n, c, h, w)`` to ``(n, c, h / stride, w / stride)``."""
        return self.convolve(x, self.weight(x.shape[1], kernel))

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """With weights ``(c, 1, k, k)`` that the caller made."""
        return F.conv2d(x, weight, stride=self.stride, padding=weight.shape[-1] // 2, groups=x.shape[1])


class Superkernel(ElasticBottleneck):
    """A searched layer with all its options: one of them, or all at once between gates."""

    def __init__(self, place: Place, options: tuple[Option, ...]) -> None:
        widest = place.layer(options[-1])
        super().__init__(widest, SuperkernelDepthwise(widest.mid, place.stride))
        self.place = place
        self.first_channels = place.cin * min(EXPANSIONS)
        smaller = [option for option in options if 0 < option.se < options[-1].se]
        self.first_reduced = place.layer(smaller[0]).se if smaller else widest.se
        channels = torch.arange(widest.mid) >= self.first_channels
        self.register_buffer("second_half", channels.float(), persistent=False)
        if widest.se:
            outer = torch.arange(widest.se) >= self.first_reduced
            self.register_buffer("outer_reduced", outer.float(), persistent=False)

    @property
    def superkernel(self) -> SuperkernelDepthwise:
        """The depthwise kernel that holds all of them."""
        return cast(SuperkernelDepthwise, self.depth_conv["conv"])

    def choose(self, x: Tensor, option: Option | None) -> Tensor:
        """``x (n, cin, h, w)`` through one option, ``(n, cout, h / stride, w / stride)``; None skips."""
        if option is None:
            return x
        layer = self.place.layer(option)
        y: Tensor = self(x, layer.mid, layer.kernel, layer.se)
        return y

    def between(self, x: Tensor, gates: Gates) -> Tensor:
        """``x (n, cin, h, w)`` through all options at once, ``(n, cout, h / stride, w / stride)``.

        Half of the channels is gated where the projection takes them, not at the depthwise weights: batch norm, which
        stands between, would undo the one and make constants of the other.
        """
        wide, deep, out = self.norms
        depthwise = self.superkernel
        mid = len(self.get_buffer("second_half"))
        y = F.relu(wide(self.expand(x, mid)))
        y = F.relu(deep(depthwise.convolve(y, depthwise.gated(gates.k5))))
        part = self._channels(gates.e6)
        if "se" in self.depth_conv:
            y = y * self._excite(y, part, gates)
        z: Tensor = out(F.conv2d(y, self.project.weight(mid, self.cout) * part[:, None, None]))
        return gates.e3 * z + x if self.skip else z

    def _channels(self, e6: Tensor) -> Tensor:
        """How far each inner channel takes part, ``(mid,)``."""
        second = self.get_buffer("second_half")
        return 1 - second + e6 * second

    def _excite(self, y: Tensor, part: Tensor, gates: Gates) -> Tensor:
        """What each channel of ``y`` is scaled by, ``(n, mid, 1, 1)``: 1 as far as nothing is excited."""
        outer = self.get_buffer("outer_reduced")
        w1, b1, w2, b2 = self.excitation.weights(len(part), len(outer))
        squeezed = y.mean((2, 3)) * part
        reduced = F.relu(F.linear(squeezed, w1.flatten(1), b1)) * (1 - outer + gates.se50 * outer)
        scale = F.hardsigmoid(F.linear(reduced, w2.flatten(1), b2))
        excited: Tensor = (1 - gates.se25 + gates.se25 * scale)[:, :, None, None]
        return excited

    def decide(self, decide: Callable[[str, Tensor], Tensor]) -> Gates:
        """The gates of this layer: ``decide`` gets a gate's name and the weights that it lets take part.

        Each stands within what the one before it leaves. A layer that cannot be skipped is always there, and one
        without squeeze-and-excitation excites nothing.
        """
        depthwise = self.superkernel
        weight = depthwise.conv.weight
        k5 = decide("k5", weight * depthwise.get_buffer("shell"))
        kernel = depthwise.gated(k5)
        e3 = decide("e3", kernel[: self.first_channels]) if self.skip else weight.new_ones(())
        e6 = decide("e6", kernel[self.first_channels :])
        if "se" not in self.depth_conv:
            return Gates(k5, e3, e6, *weight.new_zeros(2))
        reduce = self.excitation.weights(len(weight), len(self.get_buffer("outer_reduced")))[0]
        inner, outer = reduce[: self.first_reduced], reduce[self.first_reduced :]
        return Gates(k5, e3, e6, decide("se25", inner), decide("se50", outer))
