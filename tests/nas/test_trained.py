"""Accuracy of networks that are trained one by one, and random search that trains only what it may keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from netdyno.base.objective import Objective, Optimisable
from netdyno.nas.accuracy.evaluated import evaluate_network
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.search import random, search
from netdyno.nas.space import Population, make_space
from netdyno.nas.spaces.nasbench201 import NasBench201
from netdyno.nas.supernets.store import load_network
from netdyno.nas.supernets.train import Training
from netdyno.targets import Count

Refuses = Callable[[Callable[[], object]], str]
Stripes = Callable[[int, int], Dataset]
SPACE = make_space("single-path", width=0.1, resolution=32, classes=10)
SHORT = Training(steps=200, batch=16)


@pytest.fixture(scope="module")
def images(stripes: Stripes) -> Dataset:
    return stripes(160, 0)


def test_a_trained_network_is_kept_and_read_back(images: Dataset, stripes: Stripes, tmp_path: Path) -> None:
    held = stripes(100, 1)
    told: list[str] = []
    accuracy = TrainedAccuracy(SPACE, images, held, SHORT, tmp_path, lambda stage, *_: told.append(stage))
    X = np.stack([SPACE.smallest(), SPACE.smallest()])
    first, second = accuracy(X)
    assert first == second and len(told) == SHORT.steps, "equal networks are trained once"
    assert first > 30, "a tenth would be guessing"
    (folder,) = tmp_path.iterdir()
    assert evaluate_network(load_network(folder)[0], held) == first
    told.clear()
    again = TrainedAccuracy(SPACE, images, held, SHORT, tmp_path, lambda stage, *_: told.append(stage))
    assert again(X[:1])[0] == first and not told
    other = TrainedAccuracy(SPACE, images, held, Training(steps=1, batch=16), tmp_path)
    assert other(X[:1])[0] != first, "another training's network is not this one's"


def test_what_cannot_be_trained(images: Dataset, refuses: Refuses) -> None:
    cells = NasBench201(classes=10)
    assert "cannot be trained" in refuses(lambda: TrainedAccuracy(cells, images, images, SHORT)(cells.sample(1, 0)))
    two = make_space("single-path", width=0.1, resolution=32, classes=2)
    assert "classes" in refuses(lambda: TrainedAccuracy(two, images, images, SHORT)(two.sample(1, 0)))


def test_rejected_architectures_cost_no_evaluation(refuses: Refuses) -> None:
    macs = Count(SPACE, "macs")
    least, most = (float(macs(genes[None])[0]) for genes in (SPACE.smallest(), SPACE.largest()))
    asked: list[int] = []

    def error(X: np.ndarray) -> np.ndarray:
        asked.extend(macs(X).tolist())
        return 100 - macs(X) / most

    for share in (0.1, 0.5, 0.9):
        asked.clear()
        limit = least + share * (most - least)
        limits = [macs.at_most(limit), macs.at_least(0.95 * limit)]
        front = search(SPACE, [Objective("error", error)], "rejection", 20, 3, constraints=limits)
        assert len(asked) == 20 and all(0.95 * limit <= each <= limit for each in asked)
        assert len(set(asked)) > 5, "they differ"
        assert front.F[0, 0] == pytest.approx(100 - max(asked) / most)


def test_a_limit_that_chance_does_not_meet(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "MOST_DRAWS", 20_000)
    alone = Apart(SPACE.sample(1, 4)[0])
    objective = Count(SPACE, "macs").minimize()
    message = refuses(lambda: search(SPACE, [objective], "rejection", 2, 0, constraints=[alone.at_most(0)]))
    assert "of 20,000 random architectures none keeps to genes_apart <= 0" in message


class Apart(Optimisable):
    """In how many genes an architecture differs from a given one."""

    name = "genes_apart"

    def __init__(self, genes: Population) -> None:
        self.genes = genes

    def __call__(self, X: Population) -> NDArray[np.float64]:
        return (self.genes != X).sum(axis=1).astype(np.float64)
