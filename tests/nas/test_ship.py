from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from netdyno.exporters.bundle import load_bundle
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.ship import ship
from netdyno.nas.supernets.ofa_mobilenetv3 import OfaMobileNetV3Supernet
from netdyno.nas.supernets.train import resize


def test_a_bundle_holds_torchs_own_answer(
    stirred: OfaMobileNetV3Supernet, stripes: Callable[[int, int], Dataset], tmp_path: Path
) -> None:
    genes, data = stirred.space.smallest(), stripes(3, 0)
    subnet = stirred.extract(genes)
    ship(subnet, tmp_path / "dist", ["onnx", "tflite"], data, {"latency_ms": 1.5})
    bundle = load_bundle(tmp_path / "dist")
    (x,), (y,) = (list(tensors.values()) for tensors in bundle.golden())
    torch.testing.assert_close(torch.from_numpy(x.copy()), resize(torch.from_numpy(data.images[:1]), 48))
    with torch.no_grad():
        np.testing.assert_array_equal(y, subnet(torch.from_numpy(x.copy())).numpy())
    assert [artifact.format for artifact in bundle.artifacts()] == ["onnx", "tflite"]
    facts = bundle.card.extra
    assert facts["genes"] == genes.tolist()
    assert facts["macs"] == stirred.space.macs(genes)[0]
    assert facts["space"] == {"name": "ofa-mobilenetv3", **stirred.space.parameters}
    assert (facts["labels"], facts["latency_ms"]) == (list("0123456789"), 1.5)


def test_without_data_the_golden_input_is_noise_that_is_always_the_same(
    stirred: OfaMobileNetV3Supernet, tmp_path: Path
) -> None:
    subnet = stirred.extract(stirred.space.largest())
    bundles = [ship(subnet, tmp_path / name, ["onnx"]) for name in ("a", "b")]
    first, second = (next(iter(bundle.golden()[0].values())) for bundle in bundles)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (1, 3, 64, 64)
    assert "labels" not in bundles[0].card.extra
