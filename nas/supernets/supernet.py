"""What every supernet is: one set of weights that holds all subnets of a space."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from netdyno.nas.data import load_data
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.space import Population, Space
from netdyno.nas.supernets.subnet import CALIBRATION_IMAGES, Subnet, recalibrate, resize


class Supernet(nn.Module):
    """Every subnet of ``space`` in one set of weights."""

    space: Space

    @abstractmethod
    def forward(self, x: Tensor, genes: Population) -> Tensor:
        """Logits ``(n, classes)`` of images ``(n, 3, r, r)`` by one architecture ``(genes,)``; ``r`` is its own."""

    @abstractmethod
    def copy_to(self, subnet: Subnet) -> None:
        """Copy the weights that a plain network of this space uses into it."""

    def extract(self, genes: Population, data: Dataset | str | None = None) -> Subnet:
        """The architecture ``(genes,)`` as a plain network with copied weights.

        With ``data``, a data set or the name of one, its batch norm is recalibrated on the first training images;
        without, it has the supernet's statistics, which are no subnet's own.
        """
        subnet = Subnet(self.space, self.space.check(genes)[0])
        with torch.no_grad():
            self.copy_to(subnet)
        subnet.eval()
        if data is not None:
            known = load_data(data, "train") if isinstance(data, str) else data
            images = torch.from_numpy(known.images[:CALIBRATION_IMAGES])
            recalibrate(subnet, [resize(images, subnet.resolution)])
        return subnet


def initialise(module: nn.Module) -> None:
    """He initialisation by fan-out; classifier weights small (Goyal et al. 2017 use 0.01)."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)
