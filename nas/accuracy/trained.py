"""Accuracy that is trained: every architecture is built, trained from new weights, and run on data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from netdyno.base.progress import Progress, silent
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.accuracy.evaluated import evaluate_network
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.space import Population, Space
from netdyno.nas.supernets.store import NETWORK, load_network, save_network
from netdyno.nas.supernets.subnet import Subnet
from netdyno.nas.supernets.supernet import initialise
from netdyno.nas.supernets.train import Training, train_network
from netdyno.profiler.table import format_genes


class TrainedAccuracy(Accuracy):
    """Top-1 accuracy on ``data`` of networks that were trained on ``images``; cached.

    With ``folder``, trained networks are kept there, each in a folder with its genes for a name, and read back.
    """

    def __init__(
        self,
        space: Space,
        images: Dataset,
        data: Dataset,
        training: Training,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self.space = space
        self.images = images
        self.data = data
        self.training = training
        self._folder = folder
        self._progress = progress
        self._known: dict[bytes, float] = {}

    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, genes)`` to percent ``(n,)``; equal networks are trained once.

        Raises:
            InputError: the data does not fit the space, or a layer cannot be trained.
        """
        percent = []
        for genes in self.space.canonical(X):
            key = genes.tobytes()
            if key not in self._known:
                self._known[key] = evaluate_network(self.network(genes), self.data)
            percent.append(self._known[key])
        return np.array(percent)

    def network(self, genes: Population) -> Subnet:
        """The architecture ``(genes,)``, trained; raises as a call does."""
        if self._folder is None:
            return self._train(genes)
        folder = self._folder / format_genes(genes)
        if (folder / NETWORK).is_file():
            known, descriptor = load_network(folder)
            own = (str(known.space), descriptor.get("data"), descriptor.get("training"))
            if own == (str(self.space), self.images.name, asdict(self.training)):
                return known
        network = self._train(genes)
        save_network(network, folder, data=self.images.name, training=self.training)
        return network

    def _train(self, genes: Population) -> Subnet:
        with torch.random.fork_rng():
            torch.manual_seed(self.training.seed)
            network = Subnet(self.space, genes)
            network.apply(initialise)
        train_network(network, self.images, self.training, self._progress)
        return network
