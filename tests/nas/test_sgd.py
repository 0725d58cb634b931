"""Trainings by a recipe of their own: those that lead nowhere are given up, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netdyno.nas.accuracy import trained
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.space import make_space
from netdyno.nas.supernets.sgd import Course, Sgd

Stripes = Callable[[int, int], Dataset]
Refuses = Callable[[Callable[[], object]], str]
SPACE = make_space("cnn-cifar10", resolution=16)
NETWORK = {"features": [20] * 3, "kernel": [3] * 3, "pool": [2] * 3, "units": [200], "weight_decay": [0.0001]}
GOOD, WILD, SLOW = SPACE.encode(
    [
        NETWORK | {"learning_rate": [0.03162], "momentum": [0.9]},
        NETWORK | {"learning_rate": [0.1], "momentum": [0.95]},
        NETWORK | {"learning_rate": [0.001], "momentum": [0.8]},
    ]
)


@pytest.fixture(scope="module")
def images(stripes: Stripes) -> Dataset:
    return stripes(200, 0)


def test_a_good_recipe_is_followed_to_its_end(images: Dataset, stripes: Stripes) -> None:
    accuracy = TrainedAccuracy(SPACE, images, stripes(100, 1), Sgd(steps=150, batch=32))
    assert accuracy(GOOD[None])[0] > 50
    (course,) = accuracy.courses.values()
    assert (course.steps, course.given_up, course.saved_s) == (150, False, 0.0) and course.seconds > 0


def test_what_learns_nothing_is_given_up(images: Dataset, stripes: Stripes) -> None:
    accuracy = TrainedAccuracy(SPACE, images, stripes(100, 1), Sgd(steps=150, batch=32, patience=0.2))
    assert accuracy(SLOW[None])[0] < 30
    (course,) = accuracy.courses.values()
    assert course.given_up and course.steps == 30
    assert course.saved_s == pytest.approx(4 * course.seconds)


def test_a_loss_that_is_no_number_ends_a_training(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(SPACE), "recipe", lambda *_: {"learning_rate": 1e4, "momentum": 0.95, "weight_decay": 0.0}
    )
    patient = TrainedAccuracy(SPACE, images, images, Sgd(steps=40, batch=16, patience=1.0))
    hasty = TrainedAccuracy(SPACE, images, images, Sgd(steps=40, batch=16, patience=0.9))
    assert np.isfinite([patient(WILD[None]), hasty(WILD[None])]).all()
    (whole,), (cut,) = patient.courses.values(), hasty.courses.values()
    assert whole.steps == 40 and not whole.given_up
    assert cut.steps < 36 and cut.given_up


def test_a_training_that_dies_is_as_good_as_a_guess(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> Course:
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(trained, "train_sgd", die)
    accuracy = TrainedAccuracy(SPACE, images, images, Sgd(steps=2), tmp_path)
    assert accuracy(GOOD[None])[0] == 10.0
    monkeypatch.undo()
    again = TrainedAccuracy(SPACE, images, images, Sgd(steps=2), tmp_path)
    assert again(GOOD[None])[0] == 10.0, "what is kept says so too"
    assert again.courses[GOOD.tobytes()].fault == "not enough memory"


def test_how_it_went_is_kept(images: Dataset, tmp_path: Path) -> None:
    first, again = (TrainedAccuracy(SPACE, images, images, Sgd(steps=30, batch=16), tmp_path) for _ in range(2))
    assert first(SLOW[None]) == again(SLOW[None])
    assert first.courses == again.courses


def test_settings_that_cannot_be(images: Dataset, refuses: Refuses) -> None:
    for wrong in ({"steps": 0}, {"batch": 0}, {"patience": 0.0}, {"patience": 1.5}):
        assert "must be" in refuses(lambda wrong=wrong: Sgd(**wrong))
    two = make_space("cnn-cifar10", resolution=16, classes=2)
    assert "classes" in refuses(lambda: TrainedAccuracy(two, images, images, Sgd(steps=1))(two.sample(1, 0)))
