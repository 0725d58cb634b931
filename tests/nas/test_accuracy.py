from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.accuracy.ofa_mlp import load_ofa_mlp
from netdyno.nas.accuracy.predictor import fit_accuracy
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.space import Space
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3
from netdyno.nas.supernets.ofa_mobilenetv3 import OfaMobileNetV3Supernet
from netdyno.nas.supernets.subnet import recalibrate
from netdyno.nas.supernets.train import resize

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]


# Evaluated --------------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(stirred: OfaMobileNetV3Supernet, stripes: Callable[[int, int], Dataset]) -> EvaluatedAccuracy:
    return EvaluatedAccuracy(stirred, stripes(40, 1), stripes(30, 2), calibration_images=20)


def test_accuracy_is_the_share_of_right_answers(
    evaluated: EvaluatedAccuracy, stirred: OfaMobileNetV3Supernet, stripes: Callable[[int, int], Dataset]
) -> None:
    X = stirred.space.sample(3, seed=0)
    for genes, percent in zip(X, evaluated(X), strict=True):
        subnet = stirred.extract(genes)
        recalibrate(subnet, [resize(torch.from_numpy(stripes(30, 2).images[:20]), subnet.resolution)])
        data = stripes(40, 1)
        with torch.no_grad():
            right = subnet(resize(torch.from_numpy(data.images), subnet.resolution)).argmax(1).numpy() == data.labels
        assert percent == pytest.approx(100 * right.mean(), abs=2.6)  # one image more or less, for rounding


def test_equal_networks_are_evaluated_once(
    evaluated: EvaluatedAccuracy, stirred: OfaMobileNetV3Supernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, extract, extracted = stirred.space, stirred.extract, []
    monkeypatch.setattr(stirred, "extract", lambda genes: extracted.append(genes) or extract(genes))
    genes = space.smallest()
    twin = np.where(space.active(genes)[0], genes, 1)
    assert not np.array_equal(twin, genes)
    answers = evaluated(np.stack([genes, twin, genes]))
    assert len(extracted) == 1
    np.testing.assert_array_equal(evaluated(twin), answers[:1])
    assert len(extracted) == 1
    evaluated(space.largest())
    assert len(extracted) == 2


# Fitted -----------------------------------------------------------------------------------------------------------


def test_a_predictor_learns_an_additive_accuracy(space: OfaMobileNetV3) -> None:
    X = space.sample(400, seed=0)
    generator = np.random.default_rng(1)
    weights = generator.normal(0, 0.3, space.features(X).shape[1])
    y = 70 + space.features(X) @ weights + generator.normal(0, 0.2, len(X))
    fitted = fit_accuracy(space, X[:300], y[:300], seed=0)
    error = np.abs(fitted(X[300:]) - y[300:]).mean()
    assert error < 0.3 * np.abs(y[300:] - y.mean()).mean()
    assert fitted.cv_mae == pytest.approx(error, rel=0.3)
    again = fit_accuracy(space, X[:300], y[:300], seed=0)
    np.testing.assert_allclose(again(X), fitted(X), rtol=1e-12)  # the last bit depends on where arrays lie in memory
    assert fitted.method.split()[0] in {"ridge", "linear-svr", "svr", "stacked"}
    np.testing.assert_allclose(fitted(space.canonical(X)), fitted(X), rtol=1e-12)


def test_predicted_accuracies_are_percentages(space: OfaMobileNetV3) -> None:
    X = space.sample(60, seed=0)
    fitted = fit_accuracy(space, X, np.where(X[:, -1] > 12, 100.0, 0.0))
    found = fitted(space.sample(500, seed=1))
    assert found.min() >= 0 and found.max() <= 100
    np.testing.assert_allclose(fitted.maximize().evaluate(X), 100 - fitted(X))
    assert fitted.maximize().name == "error_pct"


def test_too_little_to_fit(space: OfaMobileNetV3, refuses: Refuses) -> None:
    X = space.sample(10, seed=0)
    refuses(lambda: fit_accuracy(space, X[:9], np.arange(9.0)))
    refuses(lambda: fit_accuracy(space, X, np.arange(9.0)))
    refuses(lambda: fit_accuracy(space, X, np.array([np.nan, *range(9)])))


# Published --------------------------------------------------------------------------------------------------------

SHAPES: dict[str, tuple[int, ...]] = {
    name: shape
    for i, (inputs, outputs) in enumerate([(128, 400), (400, 400), (400, 400), (400, 1)])
    for name, shape in ((f"{2 * i}.weight", (outputs, inputs)), (f"{2 * i}.bias", (outputs,)))
}


def _state(scale: float = 0.0) -> dict[str, torch.Tensor]:
    """A state dict of the published shapes, with values of our own."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * scale for name, shape in SHAPES.items()}


@pytest.fixture
def wide() -> OfaMobileNetV3:
    return OfaMobileNetV3(width=1.2, resolutions=[160, 176, 192, 208, 224])


def test_features_stand_where_the_published_predictor_has_them(wide: OfaMobileNetV3, tmp_path: Path) -> None:
    """One weight of the first layer at a time, passed on by the others as it is, in hundredths of a percent."""
    genes = wide.encode([{"ks": [5] * 20, "e": [6] * 20, "d": [2, 3, 4, 2, 2], "r": [176]}])
    expected = {3 * 0 + 1, 3 * 6 + 1, 60 + 3 * 0 + 2, 120 + (176 - 112) // 16}
    absent = {3 * 2 + 1, 3 * 7 + 1, 60 + 3 * 3 + 2, 3 * 0, 120, 127}
    for position in sorted(expected | absent):
        state = _state()
        state["0.weight"][0, position] = state["2.weight"][0, 0] = state["4.weight"][0, 0] = 1
        state["6.weight"][0, 0] = 1e-4
        torch.save(state, tmp_path / "predictor.pth")
        percent = load_ofa_mlp(tmp_path / "predictor.pth", wide)(genes)
        assert percent == pytest.approx([0.01 if position in expected else 0.0], abs=1e-6)


def test_large_populations_are_evaluated_in_parts(
    wide: OfaMobileNetV3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(_state(0.1), tmp_path / "predictor.pth")
    accuracy = load_ofa_mlp(tmp_path / "predictor.pth", wide)
    X = wide.sample(25, seed=0)
    whole = accuracy(X)
    monkeypatch.setattr("netdyno.nas.accuracy.ofa_mlp.CHUNK", 10)
    np.testing.assert_allclose(accuracy(X), whole, rtol=1e-5)
    assert accuracy(X[:0]).shape == (0,)


def test_what_is_no_predictor(wide: OfaMobileNetV3, tmp_path: Path, refuses: Refuses) -> None:
    path = tmp_path / "predictor.pth"
    lacking = {name: value for name, value in _state().items() if name != "4.bias"}
    misshapen = _state() | {"0.weight": torch.zeros(400, 127)}
    for content in (lacking, misshapen, {}, [], 3, torch.zeros(3), _state() | {"0.bias": "text"}):
        torch.save(content, path)
        assert str(path) in refuses(lambda: load_ofa_mlp(path, wide))
    path.write_bytes(b"")
    refuses(lambda: load_ofa_mlp(path, wide))
    refuses(lambda: load_ofa_mlp(tmp_path, wide))
    refuses(lambda: load_ofa_mlp(tmp_path / "missing", wide))


def test_half_precision_is_read_too(wide: OfaMobileNetV3, tmp_path: Path) -> None:
    torch.save({name: value.bfloat16() for name, value in _state(0.1).items()}, tmp_path / "predictor.pth")
    assert np.isfinite(load_ofa_mlp(tmp_path / "predictor.pth", wide)(wide.smallest())).all()


def test_spaces_that_it_does_not_know(narrow: OfaMobileNetV3, tmp_path: Path, refuses: Refuses) -> None:
    torch.save(_state(), tmp_path / "predictor.pth")
    assert "resolutions" in refuses(lambda: load_ofa_mlp(tmp_path / "predictor.pth", narrow))

    class Other(Space):
        name = "other"

    Other.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    assert "not other" in refuses(lambda: load_ofa_mlp(tmp_path / "predictor.pth", Other()))  # type: ignore[abstract]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_predictors(data: st.DataObject, wide: OfaMobileNetV3, tmp_path: Path, survives: Survives) -> None:
    template, path = tmp_path / "template.pth", tmp_path / "mutated.pth"
    if not template.exists():
        torch.save(_state(), template)
    content = bytearray(template.read_bytes())
    near_an_end = st.integers(0, 1500) | st.integers(len(content) - 1500, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(near_an_end)] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    survives(lambda: load_ofa_mlp(path, wide))


def test_the_published_predictor(wide: OfaMobileNetV3, refdata: Path) -> None:
    """The errors that OFA²'s published front states."""
    accuracy = load_ofa_mlp(refdata / "ofa_accuracy_predictor" / "acc_predictor.pth", wide)
    published = np.loadtxt(refdata / "ofa2_front" / "ofa2_nsga2_100.csv", delimiter=",", skiprows=1)
    genes = published[:, 2:].astype(int).tolist()
    X = wide.encode([{"ks": g[:20], "e": g[20:40], "d": g[40:45], "r": g[45:]} for g in genes])
    np.testing.assert_allclose(accuracy.maximize().evaluate(X), published[:, 1], rtol=0, atol=1e-4)
