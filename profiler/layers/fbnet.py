"""The layer of FBNet (Wu et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netdyno.exporters.graph import FP32_BYTES
from netdyno.profiler.layers.layer import Bottleneck


@dataclass(frozen=True)
class FBNetBlock(Bottleneck):
    """FBNet's block: 1×1 group convolution to ``mid``, channel shuffle, depthwise, 1×1 group convolution.

    Relu after the first two; no shuffle where ``groups`` is 1; ``skip`` 1 adds the input to the output.
    Source: Wu et al. 2019 (FBNet), Fig. 3.
    """

    kind: ClassVar[str] = "fbnet"
    groups: int
    skip: int

    @property
    def macs(self) -> int:
        """Of the two group convolutions and the depthwise one."""
        grouped = (self.h * self.w * self.cin + self.out_pixels * self.cout) * self.mid // self.groups
        return grouped + self.out_pixels * self.mid * self.kernel**2

    @property
    def params(self) -> int:
        """Of the three convolutions and their batch norms."""
        grouped = (self.cin + self.cout) * self.mid // self.groups
        return grouped + (self.kernel**2 + 4) * self.mid + 2 * self.cout

    @property
    def peak_activation_bytes(self) -> int:
        """The largest of the moments at which each operator runs; a skip keeps the input alive throughout."""
        x, wide, deep, out = (
            pixels * channels
            for pixels, channels in (
                (self.h * self.w, self.cin),
                (self.h * self.w, self.mid),
                (self.out_pixels, self.mid),
                (self.out_pixels, self.cout),
            )
        )
        kept = x * self.skip
        inner = kept + max(2 * wide, wide + deep, 2 * deep, deep + out, 2 * out * self.skip)
        return FP32_BYTES * max(x + wide, inner)

    def fault(self) -> str:
        """Groups are of equal size, and a skip fits."""
        even = not any(channels % self.groups for channels in (self.cin, self.mid, self.cout))
        return super().fault() if even else "groups divide all channels"
