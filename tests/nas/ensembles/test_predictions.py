from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.ensembles.arrays import write_arrays
from netdyno.nas.ensembles.predictions import ARRAYS, Predictions, load_predictions, predict, sparse
from netdyno.nas.ensembles.vote import VOTINGS, VotedAccuracy
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3
from netdyno.nas.supernets.ofa_mobilenetv3 import OfaMobileNetV3Supernet

Refuses = Callable[[Callable[[], object]], str]
Stripes = Callable[[int, int], Dataset]


@pytest.fixture
def evaluated(stirred: OfaMobileNetV3Supernet, stripes: Stripes) -> EvaluatedAccuracy:
    return EvaluatedAccuracy(stirred, stripes(40, 1), stripes(30, 2), calibration_images=20)


def test_the_likeliest_classes_stand_first_and_of_equals_the_lowest() -> None:
    ids, probabilities = sparse(np.array([[0.1, 0.4, 0.1, 0.4], [0.25, 0.25, 0.25, 0.25]]), 3)
    assert ids.tolist() == [[1, 3, 0], [0, 1, 2]]
    assert (ids.dtype, probabilities.dtype) == (np.uint16, np.float16)
    near = np.array([[0.3, 0.30001, 0.39999]])  # the same once rounded
    assert sparse(near, 3, "float16")[0].tolist() == [[2, 0, 1]]
    assert sparse(near, 3, "float32")[0].tolist() == [[2, 1, 0]]
    assert sparse(np.full((1, 2**16 + 1), 2.0**-17), 2)[0].dtype == np.int32


def test_networks_that_answer_no_probabilities_are_refused(refuses: Refuses) -> None:
    refuses(lambda: sparse(np.array([[np.nan, 1.0]]), 1))
    refuses(lambda: sparse(np.array([[-0.5, 1.5]]), 1))


def test_predictions_take_a_fraction_of_the_memory(make_pool: Callable[..., tuple[Predictions, Any]]) -> None:
    predictions, dense = make_pool(n=10, images=50, classes=1000, k=5)
    assert predictions.nbytes < dense.astype(np.float32).nbytes / 100


def test_predictions_are_what_the_subnets_answer(evaluated: EvaluatedAccuracy) -> None:
    X = evaluated.supernet.space.sample(3, seed=0)
    predictions = predict(evaluated, np.concatenate([X, X[:1]]), k=10, precision="float32")
    assert len(predictions) == 3 and predictions.ids.shape == (3, 40, 10)
    np.testing.assert_allclose(predictions.accuracy_pct, evaluated(X), atol=2.6)  # one image, for rounding
    dense = np.stack([evaluated.probabilities(genes) for genes in X])
    np.testing.assert_allclose(dense.sum(axis=2), 1, rtol=1e-5)
    found = np.zeros_like(dense)
    np.put_along_axis(found, predictions.ids.astype(int), predictions.probabilities, axis=2)
    np.testing.assert_allclose(found, dense, atol=1e-6)
    for voting in VOTINGS:
        alone = VotedAccuracy(predictions, voting)(np.arange(3)[:, None])
        np.testing.assert_allclose(alone, predictions.accuracy_pct)


def test_what_was_predicted_is_not_predicted_again(
    evaluated: EvaluatedAccuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = evaluated.supernet.space.canonical(evaluated.supernet.space.sample(3, seed=1))
    answer, asked = evaluated.probabilities, []

    def counting(genes: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(genes)
        return answer(genes)

    monkeypatch.setattr(evaluated, "probabilities", counting)
    with pytest.raises(KeyboardInterrupt):
        predict(evaluated, X, parts=tmp_path)
    asked[:] = asked[:1]
    again = predict(evaluated, X, parts=tmp_path)
    np.testing.assert_array_equal(asked[1:], X[2:])
    monkeypatch.undo()
    whole = predict(evaluated, X)
    np.testing.assert_array_equal(again.ids, whole.ids)
    np.testing.assert_array_equal(again.probabilities, whole.probabilities)


def test_parts_of_other_weights_or_images_are_not_taken(
    evaluated: EvaluatedAccuracy, stripes: Stripes, tmp_path: Path
) -> None:
    genes = evaluated.supernet.space.smallest()[None]
    predict(evaluated, genes, parts=tmp_path)
    other = EvaluatedAccuracy(evaluated.supernet, stripes(40, 5), stripes(30, 2), calibration_images=20)
    predict(other, genes, parts=tmp_path)
    predict(evaluated, genes, k=2, parts=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_damaged_parts_are_refused(evaluated: EvaluatedAccuracy, tmp_path: Path, refuses: Refuses) -> None:
    genes = evaluated.supernet.space.smallest()[None]
    predict(evaluated, genes, parts=tmp_path)
    (part,) = tmp_path.iterdir()
    good = predict(evaluated, genes)
    arrays = {"genes": genes[0], "ids": good.ids[0], "probabilities": good.probabilities[0]}
    write_arrays(part, arrays)
    predict(evaluated, genes, parts=tmp_path)
    for wrong in ({"genes": genes[0] + 1}, {"ids": good.ids[0, :3]}, {"ids": good.ids[0] * 0}):
        write_arrays(part, arrays | wrong)
        refuses(lambda: predict(evaluated, genes, parts=tmp_path))
    part.write_bytes(part.read_bytes()[:100])
    refuses(lambda: predict(evaluated, genes, parts=tmp_path))


def test_what_cannot_be_predicted_is_refused(evaluated: EvaluatedAccuracy, refuses: Refuses) -> None:
    X = evaluated.supernet.space.sample(1, seed=0)
    refuses(lambda: predict(evaluated, X, k=0))
    refuses(lambda: predict(evaluated, X, k=11))
    refuses(lambda: predict(evaluated, X[:0]))


# Files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(make_pool: Callable[..., tuple[Predictions, Any]], tmp_path: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    """A file of predictions, and what is in it."""
    predictions, _ = make_pool(n=3, images=5, k=3)
    predictions.save(tmp_path / "pool.npz")
    with np.load(tmp_path / "pool.npz", allow_pickle=False) as arrays:
        return tmp_path / "pool.npz", dict(arrays)


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_what_is_saved_is_loaded(
    make_pool: Callable[..., tuple[Predictions, Any]], narrow: OfaMobileNetV3, tmp_path: Path, precision: str
) -> None:
    predictions, _ = make_pool(precision=precision)
    predictions.save(tmp_path / "pool.npz")
    loaded = load_predictions(tmp_path / "pool.npz", narrow)
    for name in ("X", "ids", "probabilities", "labels"):
        found, expected = getattr(loaded, name), getattr(predictions, name)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert loaded.classes == predictions.classes


def _wrong(arrays: dict[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    def change(name: str, value: float) -> dict[str, NDArray[Any]]:
        array = arrays[name].copy()
        array[(0,) * array.ndim] = value
        return {name: array}

    return {
        "another space": {"genes": arrays["genes"][:, 1:]},
        "no such option": change("genes", 99),
        "fewer subnets": {"genes": arrays["genes"][:2]},
        "no subnet": {name: arrays[name][:0] for name in ("genes", "ids", "probabilities")},
        "one subnet's genes": {"genes": arrays["genes"][0]},
        "fewer images": {"labels": arrays["labels"][:3]},
        "labels that are no numbers": {"labels": arrays["labels"] + 0.5},
        "a label too large": change("labels", 7),
        "a negative label": change("labels", -1),
        "a class too large": change("ids", 7),
        "a class twice": {"ids": np.zeros_like(arrays["ids"])},
        "classes of another type": {"ids": arrays["ids"].astype(np.int64)},
        "probabilities of another type": {"probabilities": arrays["probabilities"].astype(float)},
        "probabilities of another shape": {"probabilities": arrays["probabilities"][:, :, :2]},
        "not a number": change("probabilities", np.nan),
        "too probable": change("probabilities", 2),
        "out of order": {"probabilities": arrays["probabilities"][:, :, ::-1]},
        "no classes": {"classes": np.array([0])},
        "two numbers of classes": {"classes": np.array([7, 7])},
        "a pickle": {"labels": np.array([{}, 1, 2, 3, 4], object)},
    }


def test_forged_files_are_refused(
    saved: tuple[Path, dict[str, NDArray[Any]]], narrow: OfaMobileNetV3, refuses: Refuses
) -> None:
    path, arrays = saved
    for forged in _wrong(arrays).values():
        np.savez(path, **(arrays | forged), allow_pickle=True)
        refuses(lambda: load_predictions(path, narrow))
    np.savez(path, **arrays, more=np.zeros(1))
    refuses(lambda: load_predictions(path, narrow))
    np.savez(path, **arrays)
    load_predictions(path, narrow)
    np.savez_compressed(path, **arrays)
    assert "compressed" in refuses(lambda: load_predictions(path, narrow))


def test_damaged_files_are_refused(
    saved: tuple[Path, dict[str, NDArray[Any]]], narrow: OfaMobileNetV3, refuses: Refuses
) -> None:
    path, _ = saved
    good = path.read_bytes()
    for cut in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:cut])
        refuses(lambda: load_predictions(path, narrow))
    path.unlink()
    refuses(lambda: load_predictions(path, narrow))
    path.mkdir()
    refuses(lambda: load_predictions(path, narrow))


def test_a_header_that_promises_too_much_is_not_believed(
    saved: tuple[Path, dict[str, NDArray[Any]]], narrow: OfaMobileNetV3, refuses: Refuses
) -> None:
    path, arrays = saved
    for shape in ((2**40,), (0, 2**60), (-1,)):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(path, "w") as archive:
            for name in ARRAYS:
                content = io.BytesIO()
                np.save(content, arrays[name])
                archive.writestr(f"{name}.npy", header.getvalue() if name == "labels" else content.getvalue())
        refuses(lambda: load_predictions(path, narrow))


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_do_no_harm(
    saved: tuple[Path, dict[str, NDArray[Any]]],
    narrow: OfaMobileNetV3,
    survives: Callable[[Callable[[], object]], None],
    seed: int,
) -> None:
    path, _ = saved
    generator = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for position in generator.integers(len(content), size=3):
        content[position] = generator.integers(256)
    path.write_bytes(content)
    survives(lambda: load_predictions(path, narrow))
