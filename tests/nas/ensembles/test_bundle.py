from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netdyno.base.documents import seal
from netdyno.base.errors import NetdynoError, UnknownName, VerificationError
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.ensembles.bundle import DESCRIPTOR, RUNNER, EnsembleBundle, load_ensemble, ship_ensemble
from netdyno.nas.ensembles.predictions import Predictions, predict
from netdyno.nas.ensembles.vote import VOTINGS, VotedAccuracy, Voting
from netdyno.nas.run_networks import vote, weights
from netdyno.nas.supernets.ofa_mobilenetv3 import OfaMobileNetV3Supernet
from netdyno.nas.supernets.subnet import resize

Refuses = Callable[[Callable[[], object]], str]
Stripes = Callable[[int, int], Dataset]


@pytest.fixture(scope="module")
def evaluated(stirred: OfaMobileNetV3Supernet, stripes: Stripes) -> EvaluatedAccuracy:
    return EvaluatedAccuracy(stirred, stripes(30, 1), stripes(30, 2))


@pytest.fixture(scope="module")
def predictions(evaluated: EvaluatedAccuracy) -> Predictions:
    """Three subnets of three input sizes."""
    X = evaluated.supernet.space.sample(200, seed=0)
    size = np.array([evaluated.supernet.space.layers(genes)[0].input_shape[-1] for genes in X])
    chosen = X[[np.flatnonzero(size == s)[0] for s in (48, 56, 64)]]
    return predict(evaluated, chosen, k=10, precision="float32")


@pytest.fixture(scope="module")
def shipped(
    evaluated: EvaluatedAccuracy, predictions: Predictions, tmp_path_factory: pytest.TempPathFactory
) -> EnsembleBundle:
    out = tmp_path_factory.mktemp("ensemble") / "dist"
    subnets = [evaluated.subnet(genes) for genes in predictions.X]
    facts = {"accuracy_pct": {"val": 61.5}}
    return ship_ensemble(subnets, out, ["onnx", "tflite"], "soft", "max", evaluated.data, facts)


@pytest.fixture
def copy(shipped: EnsembleBundle, tmp_path: Path) -> Path:
    """The ensemble's folder, to be damaged."""
    return Path(shutil.copytree(shipped.path, tmp_path / "copy"))


def test_what_is_shipped_is_loaded(shipped: EnsembleBundle, predictions: Predictions) -> None:
    loaded = load_ensemble(shipped.path)
    assert loaded == shipped
    assert (loaded.voting, loaded.latency, loaded.facts) == ("soft", "max", {"accuracy_pct": {"val": 61.5}})
    assert [member.card.extra["genes"] for member in loaded.members] == predictions.X.tolist()
    assert [member.path for member in loaded.members] == [shipped.path / f"member-{i}" for i in (1, 2, 3)]


# The program that runs it -----------------------------------------------------------------------------------------


def _run(folder: Path, images: np.ndarray[Any, Any]) -> list[int]:
    """What the program prints, in an environment that knows nothing of netdyno."""
    np.save(folder / "images.npy", images)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, folder / RUNNER, folder / "images.npy"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=folder,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.mark.parametrize("voting", VOTINGS)
@pytest.mark.parametrize("missing", ["tflite", "onnx"])
def test_the_program_votes_as_the_search_does(
    copy: Path, evaluated: EvaluatedAccuracy, predictions: Predictions, voting: Voting, missing: str
) -> None:
    for model in copy.glob(f"member-*/model.{missing}"):
        model.unlink()
    document = json.loads((copy / DESCRIPTOR).read_text())
    (copy / DESCRIPTOR).write_text(json.dumps(document | {"voting": voting}))
    data = evaluated.data
    answers = np.array(_run(copy, data.images * 0.5 + 0.5))
    assert len(answers) == len(data)
    # An image of each label of its own: what wins is the label with which the ensemble is right.
    for image, answer in enumerate(answers):
        one = Predictions(
            predictions.X,
            predictions.ids[:, [image]],
            predictions.probabilities[:, [image]],
            np.array([answer]),
            10,
        )
        assert VotedAccuracy(one, voting)(np.array([[0, 1, 2]]))[0] == 100


def test_the_program_needs_nothing_of_ours() -> None:
    source = Path(vote.__code__.co_filename).read_text()
    assert "netdyno" not in source


def test_the_program_breaks_ties_as_the_search_does() -> None:
    members = np.array([[[0.4, 0.3, 0.3]], [[0.0, 0.6, 0.4]], [[0.3, 0.4, 0.3]]])
    assert vote(members[[0, 1]], "hard").tolist() == [1]
    assert vote(members[[0, 2]], "hard").tolist() == [0]
    assert vote(members[[0, 2]], "soft").tolist() == [0]


@pytest.mark.parametrize("size", [48, 56, 64, 100])
def test_the_program_resizes_as_training_does(size: int) -> None:
    images = torch.rand(2, 3, 64, 72, generator=torch.Generator().manual_seed(0))
    found = weights(64, size) @ images.numpy() @ weights(72, size).T
    np.testing.assert_allclose(found, resize(images, size).numpy(), atol=1e-5)


# Refused ----------------------------------------------------------------------------------------------------------


def _change(copy: Path, **fields: Any) -> None:
    document = json.loads((copy / DESCRIPTOR).read_text())
    (copy / DESCRIPTOR).write_text(json.dumps(document | fields))


def test_forged_descriptors_are_refused(copy: Path, refuses: Refuses) -> None:
    good = json.loads((copy / DESCRIPTOR).read_text())
    members = good["members"]
    for fields in (
        {"schema": 2},
        {"voting": "loud"},
        {"voting": ["hard"]},
        {"latency": None},
        {"members": members[:1]},
        {"members": members[::-1]},
        {"members": members * 3},
        {"members": {}},
        {"members": ["member-1", "member-2"]},
        {"members": [members[0], {"folder": "../copy/member-2", "card": members[1]["card"]}]},
        {"members": [members[0], {"folder": "member-2"}]},
        {"members": [members[0], {"folder": "member-2", "card": {"name": "../card.json", "bytes": 1, "sha256": ""}}]},
        {"runner": None},
        {"facts": []},
        {"more": 1},
    ):
        _change(copy, **fields)
        refuses(lambda: load_ensemble(copy))
        (copy / DESCRIPTOR).write_text(json.dumps(good))
    load_ensemble(copy)
    for text in ("", "[]", "{", "NaN", "[" * 10**5, "\ud800"):
        (copy / DESCRIPTOR).write_bytes(text.encode("utf-8", "surrogatepass"))
        refuses(lambda: load_ensemble(copy))
    (copy / DESCRIPTOR).unlink()
    refuses(lambda: load_ensemble(copy))


def test_files_that_were_not_shipped_are_noticed(copy: Path) -> None:
    for name in (RUNNER, "member-2/card.json", "member-3/model.onnx"):
        good = (copy / name).read_bytes()
        (copy / name).write_bytes(good + b"\n")
        with pytest.raises(VerificationError):
            load_ensemble(copy)
        (copy / name).write_bytes(good)
    (copy / "member-2").rename(copy / "elsewhere")
    with pytest.raises(NetdynoError):
        load_ensemble(copy)
    (copy / "member-2").symlink_to(copy / "elsewhere")
    with pytest.raises(NetdynoError, match="symbolic link"):
        load_ensemble(copy)


def test_members_that_answer_in_other_classes_are_refused(copy: Path, refuses: Refuses) -> None:
    from netdyno.exporters.card import entry_of

    card = copy / "member-2/card.json"
    for labels, told in ((list("9876543210"), "classes"), ("0123456789", "labels")):
        card.write_text(json.dumps(seal(json.loads(card.read_text()) | {"labels": labels})))
        members = json.loads((copy / DESCRIPTOR).read_text())["members"]
        entry = entry_of("card.json", card.read_bytes())
        members[1]["card"] = {"name": entry.name, "bytes": entry.bytes, "sha256": entry.sha256}
        _change(copy, members=members)
        assert told in refuses(lambda: load_ensemble(copy))


def test_what_cannot_be_shipped_leaves_nothing(
    evaluated: EvaluatedAccuracy, predictions: Predictions, tmp_path: Path, refuses: Refuses
) -> None:
    pair = [evaluated.subnet(genes) for genes in predictions.X[:2]]
    out = tmp_path / "dist"
    refuses(lambda: ship_ensemble(pair[:1], out, ["onnx"], "soft", "sum"))
    refuses(lambda: ship_ensemble(pair * 5, out, ["onnx"], "soft", "sum"))
    refuses(lambda: ship_ensemble(pair, out, ["onnx"], "soft", "sum", facts={"accuracy_pct": float("nan")}))
    for voting, latency in (("loud", "sum"), ("soft", "mean")):
        with pytest.raises(UnknownName):
            ship_ensemble(pair, out, ["onnx"], voting, latency)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    out.mkdir()
    (out / "thesis.tex").touch()
    assert "thesis.tex" in refuses(lambda: ship_ensemble(pair, out, ["onnx"], "soft", "sum"))
    (out / "thesis.tex").unlink()
    (out / "member-8").mkdir()
    (out / "member-8/thesis.tex").touch()
    assert "thesis.tex" in refuses(lambda: ship_ensemble(pair, out, ["onnx"], "soft", "sum"))


def test_an_older_ensemble_is_replaced(copy: Path, evaluated: EvaluatedAccuracy, predictions: Predictions) -> None:
    pair = [evaluated.subnet(genes) for genes in predictions.X[:2]]
    replaced = ship_ensemble(pair, copy, ["tflite"], "hard", "sum")
    assert load_ensemble(copy) == replaced
    assert sorted(entry.name for entry in copy.iterdir()) == [DESCRIPTOR, "member-1", "member-2", RUNNER]
