"""Networks shipped without their heads: the maps at each stride, on every runtime what torch makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from netdyno.base.documents import seal
from netdyno.base.errors import InputError
from netdyno.devices import open_device
from netdyno.exporters.bundle import load_bundle, verify_bundle, write_bundle
from netdyno.exporters.card import entry_of
from netdyno.nas.backbone import backbone_graph, feature_maps
from netdyno.nas.ship import ship
from netdyno.nas.space import make_space
from netdyno.nas.supernets.subnet import Subnet

Refuses = Callable[[Callable[[], object]], str]


def network_of(name: str, **parameters: float) -> Subnet:
    space = make_space(name, **parameters)
    torch.manual_seed(0)
    return Subnet(space, space.largest()).eval()


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("mobilenet-v2", [24, 32, 96, 320]),
        ("mobilenet-v3", [24, 40, 112, 160]),
        ("mnasnet-a1", [24, 40, 112, 320]),
        ("single-path-nas", [24, 40, 96, 320]),
        ("fbnet-b", [24, 32, 112, 352]),
        ("mobilenet-v1", [128, 256, 512, 1024]),
    ],
)
def test_maps_are_the_last_of_each_stride(name: str, channels: list[int]) -> None:
    network = network_of(name)
    graph = backbone_graph(network, feature_maps(network))
    assert graph.outputs == ("c2", "c3", "c4", "c5")
    assert [graph.shapes[name] for name in graph.outputs] == [
        (1, c, side, side) for c, side in zip(channels, (56, 28, 14, 7), strict=True)
    ]


def test_a_backbone_runs_as_torch_does(tmp_path: Path) -> None:
    network = network_of("single-path-nas", width=0.25, resolution=64, classes=10)
    bundle = ship(network, tmp_path / "b", ("onnx", "tflite"), backbone=True)
    assert [spec.name for spec in bundle.card.outputs] == ["c2", "c3", "c4", "c5"]
    assert {path.name for path in (tmp_path / "b").glob("golden_c*")} == {f"golden_c{n}.npy" for n in (2, 3, 4, 5)}
    _, golden = bundle.golden()
    assert all(np.ptp(array) > 0 for array in golden.values())
    with open_device("cpu") as device:
        results = verify_bundle(bundle, device)
    assert len(results) == 2 and all(result.ok for result in results), results
    # A whole network takes a backbone's place, and the other way round: nothing of the old one stays.
    ship(network, tmp_path / "b", ("onnx",))
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        *("card.json", "golden_input.npy", "golden_output.npy", "model.onnx")
    }
    ship(network, tmp_path / "b", ("onnx",), backbone=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["outputs"].pop(),
        lambda card: card["outputs"].append(card["outputs"][0]),
        lambda card: card["outputs"][0].update(name="../c2"),
        lambda card: card["outputs"][0].update(name="input"),
        lambda card: card.update(output=card["outputs"][0]),
        lambda card: card.update(outputs=card["outputs"][:1]),
        lambda card: card.update(outputs={}),
        lambda card: card["files"].pop(),
        lambda card: card["files"].append(dict(card["files"][-1], name="golden_c9.npy")),
    ],
)
def test_a_forged_card(change: Callable[[dict[str, object]], object], tmp_path: Path) -> None:
    network = network_of("mobilenet-v2", width=0.1, resolution=32, classes=2)
    ship(network, tmp_path / "b", ("onnx",), backbone=True)
    card = json.loads((tmp_path / "b/card.json").read_text())
    change(card)
    (tmp_path / "b/card.json").write_text(json.dumps(seal(card)))
    with pytest.raises(InputError):
        load_bundle(tmp_path / "b")


def test_golden_outputs_that_do_not_belong(tmp_path: Path, refuses: Refuses) -> None:
    network = network_of("mobilenet-v2", width=0.1, resolution=32, classes=2)
    graph = backbone_graph(network, feature_maps(network))
    x = np.zeros(graph.shapes["input"], np.float32)
    maps = {name: np.zeros(graph.shapes[name], np.float32) for name in graph.outputs}
    assert "c5" in refuses(lambda: write_bundle(graph, tmp_path / "b", ["onnx"], x, {"c2": maps["c2"]}, {}))
    refuses(lambda: write_bundle(graph, tmp_path / "b", ["onnx"], x, maps["c2"], {}))
    assert entry_of("golden_c2.npy", b"").format is None


def test_no_backbone(refuses: Refuses) -> None:
    space = make_space("nasbench201", classes=10)
    layers = [layer for layer in space.layers(space.smallest()) if layer.kind in {"pool", "linear"}]

    class Head(type(space)):  # type: ignore[misc]
        def layers(self, genes: object) -> list[object]:
            return layers

    head = Head(classes=10)
    head.name = "head"
    assert "no backbone" in refuses(lambda: feature_maps(Subnet(head, head.smallest())))
