"""A cascade's folder: what was found is what is shipped, and what is shipped decides as it was found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netdyno.base.errors import VerificationError
from netdyno.nas.accuracy.evaluated import scores
from netdyno.nas.accuracy.trained import TrainedAccuracy
from netdyno.nas.adaptive.answers import read_answers
from netdyno.nas.adaptive.bundle import DESCRIPTOR, RUNNER, CascadeBundle, load_cascade, ship_cascade
from netdyno.nas.adaptive.cascade import as_arrays, clear_thresholds, decide
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.run_networks import margins
from netdyno.nas.space import make_space
from netdyno.nas.supernets.subnet import Subnet
from netdyno.nas.supernets.train import Training

Refuses = Callable[[Callable[[], object]], str]
Stripes = Callable[[int, int], Dataset]
SPACE = make_space("cnn-caffenet", resolution=12, width=0.1, every=3)


@pytest.fixture(scope="module")
def networks(stripes: Stripes) -> list[Subnet]:
    """Three trained networks."""
    trained = TrainedAccuracy(SPACE, stripes(160, 0), stripes(100, 1), Training(steps=40, batch=16))
    return [trained.network(np.array(genes)) for genes in ([0, 1, 0], [1, 0, 1], [2, 1, 1])]


@pytest.fixture(scope="module")
def images(stripes: Stripes) -> Dataset:
    return stripes(100, 1)


@pytest.fixture(scope="module")
def thresholds(networks: list[Subnet], images: Dataset) -> list[float]:
    """Such that each network answers some images."""
    found = []
    for network in networks[:-1]:
        own = clear_thresholds(read_answers(scores(network, images), images.labels).margins, 100)
        found.append(float(own[len(own) // 2]))
    return found


@pytest.fixture(scope="module")
def shipped(
    networks: list[Subnet], thresholds: list[float], images: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> CascadeBundle:
    out = tmp_path_factory.mktemp("cascade") / "dist"
    return ship_cascade(networks, thresholds, out, ["onnx", "tflite"], images, {"latency_ms": 1.5})


@pytest.fixture
def copy(shipped: CascadeBundle, tmp_path: Path) -> Path:
    """The cascade's folder, to be damaged."""
    return Path(shutil.copytree(shipped.path, tmp_path / "copy"))


def test_what_is_shipped_is_loaded(shipped: CascadeBundle, thresholds: list[float]) -> None:
    assert load_cascade(shipped.path) == shipped
    assert shipped.thresholds == tuple(thresholds) and shipped.facts == {"latency_ms": 1.5}
    assert [member.card.extra["genes"] for member in shipped.members] == [[0, 1, 0], [1, 0, 1], [2, 1, 1]]


@pytest.mark.parametrize("missing", ["tflite", "onnx"])
def test_the_program_decides_as_the_search_does_on_every_image(
    copy: Path, networks: list[Subnet], thresholds: list[float], images: Dataset, missing: str
) -> None:
    for model in copy.glob(f"member-*/model.{missing}"):
        model.unlink()
    answers = [scores(network, images) for network in networks]
    found, _ = as_arrays([read_answers(own, images.labels) for own in answers])
    stops = decide(found, np.array(thresholds))
    assert set(stops.tolist()) == {0, 1, 2}, "each network has something to say"
    np.save(copy / "images.npy", images.images * 0.5 + 0.5)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, copy / RUNNER, copy / "images.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=copy)
    told = np.array([line.split() for line in done.stdout.splitlines()], int)
    np.testing.assert_array_equal(told[:, 1] - 1, stops)
    np.testing.assert_array_equal(told[:, 0], np.stack(answers).argmax(axis=2)[stops, np.arange(len(stops))])


def test_the_program_s_margins_are_the_search_s() -> None:
    np.testing.assert_array_equal(margins(np.array([[0.5, 0.5], [0.25, 0.75], [np.nan, 0.1]])), [0.0, 0.5, 0.0])
    np.testing.assert_array_equal(margins(np.ones((3, 1))), np.ones(3))


@pytest.mark.parametrize(
    "wrong", [[], [0.5], [0.5, 0.5, 0.5], [0.5, 1.5], [0.5, -0.1], [0.5, True], [0.5, "0.5"], [0.5, None], "0.5", 0.5]
)
def test_thresholds_that_cannot_be(copy: Path, wrong: object, refuses: Refuses) -> None:
    document = json.loads((copy / DESCRIPTOR).read_text())
    (copy / DESCRIPTOR).write_text(json.dumps(document | {"thresholds": wrong}))
    assert "threshold" in refuses(lambda: load_cascade(copy))


def test_what_was_tampered_with(copy: Path) -> None:
    with (copy / "member-2" / "model.onnx").open("ab") as model:
        model.write(b"x")
    with pytest.raises(VerificationError):
        load_cascade(copy)


def test_too_few_and_too_many(networks: list[Subnet], tmp_path: Path, refuses: Refuses) -> None:
    assert "2 to 4 members" in refuses(lambda: ship_cascade(networks[:1], [], tmp_path / "a", ["onnx"]))
    assert "2 to 4 members" in refuses(lambda: ship_cascade(networks * 2, [0.5] * 5, tmp_path / "a", ["onnx"]))
    assert "threshold" in refuses(lambda: ship_cascade(networks, [0.5], tmp_path / "a", ["onnx"]))
    assert not (tmp_path / "a").exists()
