"""Accuracy that is trained: every architecture is built, trained from new weights, and run on data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from netdyno.base.documents import read_document
from netdyno.base.errors import InputError
from netdyno.base.progress import Progress, silent
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.accuracy.evaluated import evaluate_network
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.space import Population, Space
from netdyno.nas.supernets.sgd import Course, Sgd, train_sgd
from netdyno.nas.supernets.store import NETWORK, load_network, save_network
from netdyno.nas.supernets.subnet import Subnet
from netdyno.nas.supernets.supernet import initialise
from netdyno.nas.supernets.train import Training, train_network
from netdyno.profiler.table import format_genes

COURSE = "course"
WHOLE = Course(1, 1, 0.0)


def read_courses(folder: Path) -> list[Course]:
    """How the trainings went of networks that a :class:`TrainedAccuracy` keeps in a folder.

    Raises:
        InputError: what is there is no network.
    """
    courses = []
    for path in sorted(folder.glob(f"*/{NETWORK}")):
        try:
            courses += [Course(**course) for name, course in read_document(path).items() if name == COURSE]
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: not the descriptor of a network: {error}") from error
    return courses


class TrainedAccuracy(Accuracy):
    """Top-1 accuracy on ``data`` of networks that were trained on ``images``; cached.

    Networks of a space whose genes say a recipe are trained by it, with :class:`Sgd`; ``courses`` tells how that
    went, by genes. One whose training dies is as good as a guess. With ``folder``, trained networks are kept there,
    each in a folder with its genes for a name, and read back.
    """

    def __init__(
        self,
        space: Space,
        images: Dataset,
        data: Dataset,
        training: Training | Sgd,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self.space = space
        self.images = images
        self.data = data
        self.training = training
        self._folder = folder
        self._progress = progress
        self.courses: dict[bytes, Course] = {}
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
                self._known[key] = self._accuracy(genes)
            percent.append(self._known[key])
        return np.array(percent)

    def _accuracy(self, genes: Population) -> float:
        network = self.network(genes)
        if self.courses.get(genes.tobytes(), WHOLE).fault:
            return 100 / self.space.classes
        return evaluate_network(network, self.data)

    def network(self, genes: Population) -> Subnet:
        """The architecture ``(genes,)``, trained as far as that went; raises as a call does."""
        if self._folder is None:
            return self._train(genes)
        folder = self._folder / format_genes(genes)
        if (folder / NETWORK).is_file():
            known, descriptor = load_network(folder)
            own = (str(known.space), descriptor.get("data"), descriptor.get("training"))
            if own == (str(self.space), self.images.name, asdict(self.training)):
                if COURSE in descriptor:
                    self.courses[genes.tobytes()] = Course(**descriptor[COURSE])
                return known
        network = self._train(genes)
        course = self.courses.get(genes.tobytes())
        extra = {COURSE: asdict(course)} if course else {}
        save_network(network, folder, data=self.images.name, training=self.training, **extra)
        return network

    def _train(self, genes: Population) -> Subnet:
        with torch.random.fork_rng():
            torch.manual_seed(self.training.seed)
            network = Subnet(self.space, genes)
            network.apply(initialise)
        if isinstance(self.training, Training):
            train_network(network, self.images, self.training, self._progress)
        else:
            recipe = self.space.recipe(genes)
            try:
                course = train_sgd(network, self.images, recipe, self.training, self._progress)
            # Out of memory, for one: the search goes on, and tells of it.
            except (RuntimeError, MemoryError) as error:
                course = Course(0, self.training.steps, 0.0, fault=str(error))
            self.courses[genes.tobytes()] = course
        return network
