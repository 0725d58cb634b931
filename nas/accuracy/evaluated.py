"""Accuracy that is real: every architecture is extracted, recalibrated and run on data."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netdyno.base.progress import Progress, silent
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.space import Population
from netdyno.nas.supernets.subnet import CALIBRATION_IMAGES, Subnet, recalibrate, resize
from netdyno.nas.supernets.supernet import Supernet

BATCH = 256


def evaluate_network(network: Subnet, data: Dataset) -> float:
    """Top-1 accuracy of a trained network as it is, in percent."""
    return float((scores(network, data).argmax(axis=1) == data.labels).mean()) * 100


@torch.no_grad()
def scores(network: Subnet, data: Dataset) -> NDArray[np.float32]:
    """Logits ``(images, classes)`` of a trained network as it is."""
    images = resize(torch.from_numpy(data.images), network.resolution).contiguous(memory_format=torch.channels_last)
    network.eval()
    found: NDArray[np.float32] = torch.cat([network(batch) for batch in torch.split(images, BATCH)]).numpy()
    return found


@torch.no_grad()
def _top1(network: Subnet, batches: Iterable[Tensor], labels: Tensor) -> float:
    answers = [network(batch).argmax(1) for batch in batches]
    return float((torch.cat(answers) == labels).double().mean()) * 100


class EvaluatedAccuracy(Accuracy):
    """Top-1 accuracy of subnets on ``data``, batch norm recalibrated on ``calibration`` images; cached."""

    def __init__(
        self,
        supernet: Supernet,
        data: Dataset,
        calibration: Dataset,
        calibration_images: int = CALIBRATION_IMAGES,
        progress: Progress = silent,
    ) -> None:
        self.supernet = supernet
        self.data = data
        self.calibration = calibration.images[:calibration_images]
        self._progress = progress
        self._known: dict[bytes, float] = {}
        self._scaled: dict[tuple[str, int], list[Tensor]] = {}

    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, genes)`` to percent ``(n,)``; equal networks are evaluated once."""
        population = self.supernet.space.canonical(X)
        percent = np.empty(len(population))
        for position, genes in enumerate(population):
            key = genes.tobytes()
            if key not in self._known:
                self._known[key] = self._evaluate(self.subnet(genes))
            percent[position] = self._known[key]
            self._progress("evaluate", position + 1, len(population), f"{percent[position]:.1f} %")
        return percent

    def subnet(self, genes: Population) -> Subnet:
        """The architecture ``(genes,)`` as a plain network, recalibrated: what is evaluated and shipped."""
        subnet = self.supernet.extract(genes)
        recalibrate(subnet, self._batches("calibration", subnet.resolution))
        return subnet

    @torch.no_grad()
    def probabilities(self, genes: Population) -> NDArray[np.float32]:
        """Of each class, by the architecture ``(genes,)``, recalibrated: ``(images, classes)``."""
        subnet = self.subnet(genes)
        answers = [subnet(batch).softmax(1) for batch in self._batches("data", subnet.resolution)]
        found: NDArray[np.float32] = torch.cat(answers).numpy()
        return found

    def _evaluate(self, subnet: Subnet) -> float:
        return _top1(subnet, self._batches("data", subnet.resolution), self._labels)

    def _batches(self, which: str, resolution: int) -> list[Tensor]:
        """Images at a resolution, channels last, resized once."""
        if (which, resolution) not in self._scaled:
            source = self.data.images if which == "data" else self.calibration
            images = resize(torch.from_numpy(source), resolution).contiguous(memory_format=torch.channels_last)
            self._scaled[which, resolution] = list(torch.split(images, BATCH))
        return self._scaled[which, resolution]

    @cached_property
    def _labels(self) -> Tensor:
        return torch.from_numpy(self.data.labels)
